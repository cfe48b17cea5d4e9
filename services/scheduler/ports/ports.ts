/** What the scheduler asks of the world. Each port is small, belongs to its caller, and has a fake and a
 *  real side that pass one conformance suite (test/conformance). */
import type { Dice } from '#core/estimators/dice'
import type { Clock } from '#platform/clock'
import type { HeadgateEvent } from '#contracts/events'
import type { Millis } from '#contracts/units'
import type { AbortWhy, Verdict } from '#contracts/verdict'

export type { Clock, Dice, HeadgateEvent, Millis, Verdict, AbortWhy }
export type * from './bus.ts'
export * from './job-store.ts'
export type * from './jobs.ts'
export type * from './message-batches.ts'
export type * from './provider.ts'
export * from './provider-batches.ts'
export type * from './records.ts'
export type * from './requests.ts'
export * from './scheduler.ts'
export type * from './settings.ts'
