/** The public shapes as JSON Schema: one name, one line and one schema each. The conversion is zod's own; what
 *  is changed in it stands in `plain`. A shape says what must be there and never that nothing else may be, so
 *  that a key more breaks no reader; the file alone is closed, because a misspelt knob must not pass. */
import { z } from 'zod'
import { adminBodies } from '#contracts/admin'
import { configFile } from '#contracts/config-file'
import { eventData, type EventName } from '#contracts/events'
import { cancelAnswer, requestBody, jobReceipt, statusAnswer } from '#contracts/messages'
import { modelsAsk } from '#contracts/models-ask'
import { snapshot } from '#contracts/snapshot'
import type { AdminOp } from '#contracts/subjects'
import * as wire from '#contracts/wire-shapes'

/** Of subjects, bodies and headers; the first number is that of the subjects' `v1`. */
export const CONTRACT_VERSION = '1.0.0'

export type Json = { [key: string]: unknown }

/** AsyncAPI speaks draft-07, OpenAPI 3.1 and the files 2020-12. */
export type Draft = 'draft-2020-12' | 'draft-07'

interface Shape {
  /** One line. */
  says: string
  schema: z.ZodType
}

/** Where an event is published; null: it stays with its instance, in log, metrics and `/api/events`. */
export type EventPlace =
  'request' | 'job' | 'breaker' | 'limit' | 'fleet' | 'budget' | 'guardrail' | null

export const eventRows: Readonly<Record<EventName, { says: string; on: EventPlace }>> = {
  'request.queued': { says: 'A request was accepted and waits for its turn.', on: 'request' },
  'request.dispatched': { says: 'An attempt has started.', on: 'request' },
  'request.forwarding': { says: 'The first event of a stream was passed on.', on: 'request' },
  'request.retrying': { says: 'An attempt failed and another will follow.', on: 'request' },
  'request.preempted': { says: 'An attempt gave way to someone more urgent.', on: 'request' },
  'request.rerouted': {
    says: 'A request was refused on one route and is in line again on another.',
    on: 'request',
  },
  'request.settled': { says: 'A request has ended, refusals too.', on: 'request' },
  'request.dropped': { says: 'A request could be answered nowhere.', on: 'request' },
  'attempt.ended': { says: 'How an attempt ended.', on: null },
  'job.accepted': { says: 'A durable job is stored.', on: 'job' },
  'job.claimed': { says: 'An instance has taken a job: its turn is near.', on: 'job' },
  'job.taken_over': { says: 'An instance has taken the job of one that died.', on: 'job' },
  'job.returned': {
    says: 'A job did not end and is in the store again, for whoever has room.',
    on: 'job',
  },
  'job.ended': { says: 'A job has its one result.', on: 'job' },
  'job.dead': { says: 'A job was given up and is kept for an operator.', on: 'job' },
  breaker: { says: "A route's circuit breaker moved.", on: 'breaker' },
  limit: { says: "A route's concurrency limit moved.", on: 'limit' },
  fleet: { says: 'A member of the fleet came or went, or a lease ran out.', on: 'fleet' },
  budget: { says: "A tenant's budget is nearly used up, or all of it is drawn.", on: 'budget' },
  guardrail: { says: 'A guardrail was breached, or holds again.', on: 'guardrail' },
  alarm: { says: 'Something that an operator must see.', on: null },
}

export const eventNames = Object.keys(eventRows) as [EventName, ...EventName[]]
export const eventsOn = (place: EventPlace) =>
  eventNames.filter((name) => eventRows[name].on === place) as [EventName, ...EventName[]]

const adminSays: Readonly<Record<AdminOp, string>> = {
  snapshot: 'Asks for everything true now.',
  config: 'Asks for the configuration in force, or puts another in force.',
  emergency: 'Switches the emergency block on or off, on every instance.',
  lane: 'Pauses a lane or lets it run again, on every instance.',
  upstream: 'Tests a blocked upstream with the next attempt, on every instance.',
  status: 'Says where a request of any tenant stands.',
  cancel: 'Cancels a request of any tenant, wherever it is.',
  jobs: 'Lists durable jobs, the oldest first; puts a dead one in line again, or forgets it.',
  budgets: 'Says how far the budgets of tenants are used; gives a tenant more of one.',
  usage: 'Says what was used and what it costs, by tenant, model, lane or day.',
  drain: 'Lets running requests end and takes no more.',
}

const published = eventNames.filter((name) => eventRows[name].on !== null)

/** Every public shape, by the name of its file. */
export const shapes: Readonly<Record<string, Shape>> = {
  'request-body': {
    says: 'What Headgate must know of a Messages call; everything else passes through unread.',
    schema: requestBody,
  },
  'request-headers': {
    says: 'Headers of a request, all optional.',
    schema: wire.requestHeaderBlock,
  },
  'job-headers': { says: 'Headers of a durable job, all optional.', schema: wire.jobHeaderBlock },
  'job-receipt': { says: 'The answer to submit: the job is stored.', schema: jobReceipt },
  'aux-request-headers': {
    says: 'Headers of a call outside lanes, all optional.',
    schema: wire.auxRequestHeaderBlock,
  },
  'models-ask': {
    says: 'What may be asked of models: a page of the list, or one model; nothing asks for the first page.',
    schema: modelsAsk,
  },
  'fetch-headers': { says: 'Headers of a fetch.', schema: wire.fetchHeaderBlock },
  'status-headers': { says: 'Headers of a status.', schema: wire.statusHeaderBlock },
  'status-answer-headers': {
    says: 'Headers of the answer to a status.',
    schema: wire.statusAnswerHeaderBlock,
  },
  'accounting-headers': {
    says: 'Headers of every answer to a request.',
    schema: wire.accountingHeaderBlock,
  },
  'stream-end-headers': {
    says: 'Headers of the empty message that ends a stream.',
    schema: wire.streamEndHeaderBlock,
  },
  'error-headers': { says: 'Headers of an error.', schema: wire.errorHeaderBlock },
  'error-body': {
    says: "The API's error JSON with one more key, `headgate`.",
    schema: wire.errorAnswer,
  },
  'refusal-code': { says: 'Every no that Headgate says.', schema: wire.refusalCode },
  'cancel-answer': { says: 'The answer to a cancel.', schema: cancelAnswer },
  'status-answer': { says: 'The answer to a status.', schema: statusAnswer },
  'aux-headers': { says: 'Headers of an answer outside lanes.', schema: wire.auxHeaderBlock },
  'service-answer': { says: 'The answer of service discovery.', schema: wire.serviceAnswer },
  snapshot: { says: 'Everything true at one instant.', schema: snapshot },
  ...Object.fromEntries(
    Object.entries(adminBodies).map(([op, schema]) => [
      `admin.${op}`,
      { says: adminSays[op as AdminOp], schema },
    ]),
  ),
  ...Object.fromEntries(
    Object.entries(wire.adminAnswers)
      .filter(([op]) => op !== 'snapshot')
      .map(([op, schema]) => [`admin.${op}.answer`, { says: `The answer to \`${op}\`.`, schema }]),
  ),
  'event-headers': {
    says: 'Headers of every event on NATS: CloudEvents 1.0, binary mode.',
    schema: wire.eventHeaderBlock(published as [EventName, ...EventName[]]),
  },
  ...Object.fromEntries(
    eventNames.map((name) => [
      `event.${name}`,
      { says: eventRows[name].says, schema: eventData[name] },
    ]),
  ),
  'config-file': {
    says: 'headgate.yaml, every knob optional; editors complete and check it by this.',
    schema: configFile,
  },
}

/** The shape that answers an operation. */
export const adminAnswerShape = (op: AdminOp): string =>
  op === 'snapshot' ? 'snapshot' : `admin.${op}.answer`

/** A file of its own. */
export function schemaFile(name: string): Json {
  const $schema = 'https://json-schema.org/draft/2020-12/schema'
  return { $schema, $id: `urn:headgate:v1:${name}`, ...component(name, 'draft-2020-12') }
}

/** Part of a document that names the draft itself. */
export function component(name: string, draft: Draft): Json {
  const shape = shapes[name]
  if (shape === undefined) throw new Error(`no shape ${name}`)
  return { title: titleOf(name), description: shape.says, ...toJson(shape.schema, draft) }
}

/** Those of a list, for `components.schemas`. */
export const components = (names: readonly string[], draft: Draft): Json =>
  Object.fromEntries(names.map((name) => [name, component(name, draft)]))

/** A schema in the words of a draft, without the name of the draft. */
export function toJson(schema: z.ZodType, draft: Draft): Json {
  const { $schema: _, ...json } = z.toJSONSchema(schema, {
    target: draft,
    // What is taken, and not what is made of it: no default is required, no header is a number.
    io: 'input',
    override: plain,
  })
  return json
}

type Override = NonNullable<NonNullable<Parameters<typeof z.toJSONSchema>[1]>['override']>

/** Without the ranges of JavaScript's integers, and a knob's reason and unit as words that editors show. */
const plain: Override = ({ zodSchema, jsonSchema }) => {
  if (jsonSchema.minimum === Number.MIN_SAFE_INTEGER) delete jsonSchema.minimum
  if (jsonSchema.maximum === Number.MAX_SAFE_INTEGER) delete jsonSchema.maximum
  const { def } = zodSchema._zod
  if (def.type === 'string' && 'format' in def && def.format === 'url') jsonSchema.format = 'uri'
  const { why, unit } = jsonSchema
  if (typeof why === 'string')
    jsonSchema.description = typeof unit === 'string' ? `${why} (${unit})` : why
  delete jsonSchema.why
  delete jsonSchema.unit
  delete jsonSchema.source
  delete jsonSchema.takes
}

/** `admin.lane.answer` is AdminLaneAnswer. */
const titleOf = (name: string): string =>
  name
    .split(/[-._]/)
    .map((part) => part.charAt(0).toUpperCase() + part.slice(1))
    .join('')
