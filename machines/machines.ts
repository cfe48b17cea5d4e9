/** The machines as a library, `headgate/machines`: what a program may use. Told in README.md. */
export {
  BAND,
  breakerMachine,
  capOf,
  type BreakerContext,
  type BreakerEvent,
  type BreakerInput,
  type BreakerSettings,
  type BreakerSnapshot,
  type BreakerState,
} from './breaker.ts'
export {
  limitMachine,
  type LimitContext,
  type LimitEvent,
  type LimitInput,
  type LimitSnapshot,
  type LimitState,
} from './concurrency-limit.ts'
export {
  lifecycleMachine,
  type LifecycleContext,
  type LifecycleEvent,
  type LifecycleInput,
  type LifecycleSnapshot,
  type LifecycleState,
} from './request-lifecycle.ts'
export { breakerInput, limitInput } from './machine-inputs.ts'
export { permits, type BreakerRef, type Permit, type Permits } from './permits.ts'
export { run, type After } from './run.ts'
export { clearTimers, compile, type Cell, type Table } from './compile.ts'
/** The limit's arithmetic without its chart. */
export * as aimd from './aimd.ts'
export type { Aimd, Change, LimitSettings } from './aimd.ts'
