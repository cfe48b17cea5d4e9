/** The end of a scheduler, in order: nothing new, what runs ends, what was said leaves, all is given back. */
import { hasPeer } from '#scheduler/nats/discovery'
import type { Loop } from '#scheduler/loop/loop'
import type { Allowances } from '#scheduler/money/allowances'
import type { Doors } from './doors.ts'
import type { Observers } from './observers.ts'
import type { OperatorService } from './operator-service.ts'
import type { Standing, WireOptions } from './options.ts'
import type { WiredFleet } from './wire-fleet.ts'
import type { WiredJobs } from './wire-jobs.ts'
import type { WiredUsage } from './wire-usage.ts'
import { within } from './within.ts'

/** For what is in hand of budgets to go back. */
const BUDGETS_MS = 2_500
/** After a broken law: until no further request comes, and then for the last words. */
const UNHEARD_MS = 500
const ABANDON_MS = 2_000

export interface Shutdown {
  /** Takes nothing new and lets running requests end within `drain_ms`; begins once. */
  drain(): Promise<void>
  stop(): Promise<void>
  hurry(): void
  abandon(): Promise<void>
}

export interface ShutdownParts {
  of: WireOptions
  instance: string
  standing: Standing
  loop: Loop
  seen: Observers
  desk: OperatorService
  jobs: WiredJobs | null
  fleet: WiredFleet | null
  allowances: Allowances
  usage: WiredUsage
  /** They are opened after a drain may be asked for. */
  doors: () => Doors | null
}

export function shutdown(parts: ShutdownParts): Shutdown {
  let drained: Promise<void> | null = null
  const drain = (): Promise<void> => (drained ??= drainAll(parts))
  let stopped: Promise<void> | null = null
  return {
    drain,
    stop: () => (stopped ??= endAll(parts, drain)),
    hurry() {
      parts.loop.hurry()
      parts.doors()?.aux.hurry()
    },
    async abandon() {
      const { bus, clock } = parts.of
      parts.loop.halt()
      // Who hears `draining` asks again at once, and shall not find us a second time.
      const open = parts.doors()?.main.drainRequests()
      await within(clock, UNHEARD_MS, open?.catch(() => {}) ?? Promise.resolve())
      parts.loop.abandon()
      const left = [
        bus.flush().catch(() => {}),
        parts.usage.flush(),
        parts
          .doors()
          ?.gateway?.close()
          .catch(() => {}),
      ]
      await within(clock, ABANDON_MS, Promise.all(left))
    },
  }
}

/** Where another instance serves, requests are left to it; alone, each new one is told `draining`. */
async function drainAll({
  of,
  standing,
  loop,
  instance,
  doors,
  jobs,
  fleet,
}: ShutdownParts): Promise<void> {
  standing.leaving = true
  jobs?.gatherer?.stop()
  jobs?.batches?.work.stop()
  jobs?.room.drain()
  const open = doors()
  if (open !== null && (await hasPeer(of.bus, of.clock, instance))) await open.main.drainRequests()
  standing.draining = true
  const aux = open?.aux
  const { drain_ms: most } = loop.state.config.file
  const outside = within(of.clock, most, aux?.drain() ?? Promise.resolve())
  fleet?.drain()
  await Promise.all([loop.drain(), outside.then(() => aux?.hurry())])
}

async function endAll(
  { of, loop, seen, desk, doors, jobs, fleet, allowances, usage }: ShutdownParts,
  drain: () => Promise<void>,
): Promise<void> {
  const open = doors()
  open?.watched?.close()
  await drain()
  await jobs?.gatherer?.close()
  jobs?.watch.stop()
  await jobs?.room.close()
  await open?.main.close()
  await open?.local?.close()
  await open?.gateway?.close()
  await open?.found.close()
  await desk.close()
  seen.close()
  await of.bus.flush().catch(() => of.log.warn('NATS is away: the last answers may not have left'))
  seen.dashboard?.close()
  await open?.inspector?.close()
  await open?.http?.close()
  await within(of.clock, BUDGETS_MS, allowances.close())
  loop.stop()
  await usage.close()
  await seen.flush()
  await fleet?.close()
  await of.provider.close()
  await of.settings.close()
  await of.jobs?.members.close()
  await of.jobs?.gatherings?.close()
  await of.batches?.close()
  await of.cache?.close()
  await of.bus.close()
}
