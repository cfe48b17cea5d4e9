/** Calls by kind, which begin and stop when they are told, and what became of each. */
import type { Calls } from './random-world.ts'
import type { How, SimRequest } from './sim-request.ts'
import { bursts, poisson, type Source, type Stream } from './workload.ts'
import type { World } from './world.ts'

export interface Call {
  request: SimRequest | null
  calls: Calls
  /** Null: it has no answer yet. */
  how: How | null
  code: string | null
}

export class Callers {
  readonly all: Call[] = []
  readonly #world: () => World
  readonly #seed: number
  #stops: (() => void)[] = []

  constructor(of: { world: () => World; seed: number }) {
    this.#world = of.world
    this.#seed = of.seed
  }

  /** What a world tells of ends. */
  readonly ended = (request: SimRequest, how: How, code: string | null): void => {
    const call = this.all[request.index]
    if (call === undefined) return
    call.how = how
    call.code = code
  }

  /** From now on; each kind has dice of its own. */
  begin(kinds: readonly Calls[], when: string): void {
    for (const [index, calls] of kinds.entries())
      this.#feed(sourceOf(calls, this.#seed, `${when} ${index}`), calls)
  }

  stop(): void {
    for (const stop of this.#stops) stop()
    this.#stops = []
  }

  waiting(): Call[] {
    return this.all.filter(({ how }) => how === null)
  }

  #feed(source: Source, calls: Calls): void {
    const { clock } = this.#world()
    const from = clock.instant
    let cancel = (): void => {}
    const next = (): void => {
      const arrival = source.next()
      if (arrival === null) return
      cancel = clock.after(from + arrival.at - clock.instant, () => {
        const tenant = calls.tenants[Number(arrival.asked.tenant)]!
        const call: Call = { request: null, calls, how: null, code: null }
        this.all.push(call)
        const { asked, work } = arrival
        call.request = this.#world().arrive({ asked: { ...asked, tenant }, work })
        next()
      })
    }
    next()
    this.#stops.push(() => cancel())
  }
}

/** Tenants are numbered: their names follow. */
function sourceOf(calls: Calls, seed: number, name: string): Source {
  const { lane, model, tenants, come, service, cv, input, ttft, deadline } = calls
  const perSecond = 'perSecond' in come ? come.perSecond : 0
  const stream: Stream = {
    lane,
    model,
    tenants: { prefix: '', count: tenants.length },
    rate: () => perSecond,
    rateMost: perSecond,
    service,
    serviceCv: cv,
    serviceLeast: 0.05,
    input,
    deadline,
    until: Infinity,
    ...(ttft === null ? {} : { ttft }),
  }
  if ('perSecond' in come) return poisson(stream, seed, name)
  return bursts({ ...stream, from: come.first, every: come.every, size: 1 }, seed, name)
}
