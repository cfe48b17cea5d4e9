/** Arrivals, requests and policies for tests of the simulator, each with what the test leaves unsaid. */
import {
  noFacts,
  type Attempt,
  type SchedulingPolicy,
  type Wire,
} from '../../services/simulator/policy.ts'
import { SimRequest, type Asked, type Work } from '../../services/simulator/sim-request.ts'
import type { Arrival, Source } from '../../services/simulator/workload.ts'
import { World, type WorldOptions } from '../../services/simulator/world.ts'

export type ArrivalSketch = Partial<Asked & Work> & { at?: number }

export function arrivalOf(of: ArrivalSketch = {}): Arrival {
  const { tenant = 'a', lane = 'interactive', model = 'claude', stream = false } = of
  const { maxTokens = 1_024, deadlineMs = null, serviceMs = 1_000, ttftMs = 100 } = of
  const { inputTokens = 100, outputTokens = 60, marked } = of
  return {
    at: of.at ?? 0,
    asked: {
      ...{ tenant, lane, model, stream, maxTokens, deadlineMs },
      ...(marked === undefined ? {} : { marked }),
    },
    work: { serviceMs, ttftMs, inputTokens, outputTokens },
  }
}

let made = 0
const body = new Uint8Array(0)

export function requestOf(
  of: ArrivalSketch & { durable?: boolean } = {},
  onEnd: ConstructorParameters<typeof SimRequest>[0]['onEnd'] = () => {},
): SimRequest {
  const { at: arrivedAt, asked, work } = arrivalOf(of)
  const { durable = false } = of
  return new SimRequest({ index: made++, asked, durable, work, body, arrivedAt, onEnd })
}

/** These arrivals in this order. */
export function sourceOf(...sketches: readonly ArrivalSketch[]): Source {
  let next = 0
  return {
    next() {
      const sketch = sketches[next++]
      return sketch === undefined ? null : arrivalOf(sketch)
    },
  }
}

/** Everything that a source gives. */
export function drawn(source: Source): Arrival[] {
  const all: Arrival[] = []
  for (let one = source.next(); one !== null; one = source.next()) all.push(one)
  return all
}

/** Sends every request at once and passes on what comes; tests break one method of it. */
export class PlainPolicy implements SchedulingPolicy {
  readonly facts = noFacts()
  readonly tenants = 0
  readonly attempts: Attempt[] = []
  live = 0
  readonly #wire: Wire

  constructor(wire: Wire) {
    this.#wire = wire
  }

  submit(request: SimRequest): void {
    this.live++
    this.start(request)
  }

  start(request: SimRequest): void {
    this.attempts.push(
      this.#wire.send(request, {
        ended: (verdict) => {
          this.live--
          request.ended(verdict.kind === 'ok' ? 'completed' : 'failed', null)
        },
      }),
    )
  }

  drain(): void {}
  cancel(): void {}
  configure(): void {}
  limit(): number {
    return 0
  }
  queued(): number {
    return 0
  }
  check(): string[] {
    return []
  }
  atRest(): string[] {
    return []
  }
}

/** A run under a policy of the test's own; the provider gives everything. */
export const worldOf = (
  of: Partial<WorldOptions> & Pick<WorldOptions, 'policy' | 'source'>,
): World => new World({ seed: 1, provider: { capacity: () => Infinity }, until: 10, ...of }).run()
