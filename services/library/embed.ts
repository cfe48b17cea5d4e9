/** The house without NATS, inside a process of yours: what `import … from 'headgate'` gives. */
import '#contracts/engine'
export {
  createHeadgate,
  type EmbeddedHeadgate,
  type EmbedConfig,
  type EmbedOptions,
} from './create-headgate.ts'
export { withHeadgate, type WithHeadgateOptions } from './with-headgate.ts'
export { safeMessageCreate, type MessagesClient, type SafeMessageOptions } from './safe-message.ts'
export { HeadgateError, isHeadgateError } from '#client'
export type {
  Answer,
  AnswerAccounting,
  AnswerStream,
  CallOptions,
  HeadgateErrorCode,
} from '#client'
export type { HeadgateEvent } from '#ports'
export type { Snapshot } from '#contracts/snapshot'
