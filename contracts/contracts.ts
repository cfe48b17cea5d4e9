/** `headgate/contracts`: what two programs that speak over Headgate may agree on, as zod and as types. The same
 *  for other languages is docs/contracts. */
export { adminBodies, type AdminAsk } from './admin.ts'
export { asyncapi } from './documents/asyncapi.ts'
export { configFile, type ConfigFile } from './config-file.ts'
export {
  ceType,
  eventData,
  type EventName,
  type HeadgateEvent,
  type TraceContext,
} from './events.ts'
export { isModel, isToken, MODEL, routeId, TOKEN } from './ids.ts'
export { schemaFile, shapes, type Json } from './documents/json-schemas.ts'
export {
  cancelAnswer,
  DEADLINE_MAX_MS,
  DEGRADE_STEPS,
  errorBody,
  HEADER,
  refusal,
  requestBody,
  requestHeaders,
  statusAnswer,
  type CancelAnswer,
  type DegradeStep,
  type Refusal,
  type StatusAnswer,
} from './messages.ts'
export { openapi } from './documents/openapi.ts'
export { openapiOperator } from './documents/openapi-operator.ts'
export {
  OUTCOMES,
  REQUEST_STATES,
  SERVED_BY,
  type Outcome,
  type RequestState,
  type ServedBy,
} from './outcome.ts'
export { reasons, refusals, type Reason, type RefusalCode } from './refusals.ts'
export { snapshot, type Snapshot } from './snapshot.ts'
export {
  ADMIN_OPS,
  AUX_KINDS,
  subjects,
  type AdminOp,
  type AuxKind,
  type Subjects,
} from './subjects.ts'
export {
  accountingHeaderBlock,
  adminAnswers,
  errorAnswer,
  errorHeaderBlock,
  eventHeaderBlock,
  requestHeaderBlock,
  streamEndHeaderBlock,
} from './wire-shapes.ts'
