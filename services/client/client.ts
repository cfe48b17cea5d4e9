/** The publishers' library: what a program may use. */
export { connectHeadgate } from './headgate.ts'
export type {
  Answer,
  AuxOptions,
  CallOptions,
  Headgate,
  HeadgateOptions,
  RawBody,
  RequestEvent,
} from './contract.ts'
export { AnswerStream } from './answer-stream.ts'
export type { AnswerAccounting } from './accounting.ts'
export { clientRefusals, HeadgateError, type ClientCode, type HeadgateErrorCode } from './errors.ts'
export type { Relayed, RelaySink } from './relay.ts'
export { natsTransport, type NatsTransportOptions } from './nats-transport.ts'
export { clientSystem, type ClientSystem } from './system.ts'
export {
  busTransport,
  type BusLike,
  type Transport,
  type TransportFault,
  type TransportHeaders,
  type TransportMessage,
} from './transport.ts'
