/** The publishers' library: what a program may use. */
import '#contracts/engine'
export { HeadgateClient } from './headgate-client.ts'
export { connectHeadgate } from './headgate.ts'
export type {
  Answer,
  AuxOptions,
  CallOptions,
  EventOptions,
  Headgate,
  HeadgateOptions,
  Jobs,
  JobWaitOptions,
  ModelList,
  RawBody,
  RequestEvent,
  ResultOptions,
  SubmitOptions,
} from './contract.ts'
export { AnswerStream } from './answer-stream.ts'
export type { AnswerAccounting } from './accounting.ts'
export {
  clientRefusals,
  HeadgateError,
  isHeadgateError,
  type ClientCode,
  type HeadgateErrorCode,
} from './errors.ts'
export type { Relayed, RelaySink } from './relay.ts'
export { natsTransport, type NatsTls, type NatsTransportOptions } from './nats-transport.ts'
export { clientSystem, type ClientSystem } from './system.ts'
export {
  busTransport,
  type BusLike,
  type Transport,
  type TransportFault,
  type TransportHeaders,
  type TransportMessage,
} from './transport.ts'
export type { CancelAnswer, DegradeStep, JobReceipt, StatusAnswer } from '#contracts/messages'
