/** Whether two requests are the same call: of one tenant, with the same key, the same bytes and the same headers
 *  that say what is asked. Clients that ask again by themselves send the same; whoever means another call gives it an id. */
import { createHash } from 'node:crypto'
import { HEADER } from '#contracts/messages'
import type { CallOptions } from '#client'
import type { IncomingHeaders } from './call-headers.ts'

export interface SameCall {
  readonly tenant: string
  /** Equal calls have the same; so may others. It costs nothing. */
  readonly rough: string
  /** Equal calls have the same, and no others. Reads the whole body, once. */
  exact(): string
}

/** Of the same call asked again they may differ. */
const BESIDE: readonly string[] = [HEADER.traceparent, HEADER.tracestate]

export function sameCall(of: {
  tenant: string
  /** Who asks, also where the door asks nobody for a key: see `shownBy`. */
  shown: string
  options: CallOptions
  body: Uint8Array
}): SameCall {
  const { tenant, shown, options, body } = of
  let exact: string | null = null
  return {
    tenant,
    rough: `${tenant} ${body.length}`,
    exact: () => (exact ??= hashOf([tenant, shown], options, body)),
  }
}

/** What a caller shows of itself, as a hash: a key is kept nowhere, and a call may outlive its request. */
export function shownBy(headers: IncomingHeaders): string {
  const shown = KEYS.map((name) => headers[name] ?? null)
  return createHash('sha256').update(JSON.stringify(shown)).digest('base64')
}
const KEYS = ['x-api-key', 'authorization'] as const

function hashOf(
  who: readonly string[],
  { lane, id, again, headers = {} }: CallOptions,
  body: Uint8Array,
): string {
  const said = Object.entries(headers).filter(([name]) => !BESIDE.includes(name))
  const head = JSON.stringify([who, lane ?? null, id ?? null, again ?? true, said.sort()])
  return createHash('sha256').update(head).update('\n').update(body).digest('base64')
}

/** What is known of calls that may be asked again, for a while each. Bodies are not kept. */
export class CallMemory<Known extends object> {
  readonly #byRough = new Map<string, Map<Known, string>>()
  readonly #after: (ms: number, call: () => void) => () => void
  readonly #timers = new Map<Known, () => void>()

  constructor(after: (ms: number, call: () => void) => () => void) {
    this.#after = after
  }

  get size(): number {
    return this.#timers.size
  }

  /** `over` hears of the end of its time. */
  add(call: SameCall, known: Known, ms: number, over: () => void = () => {}): void {
    const { rough } = call
    const found = this.#byRough.get(rough) ?? new Map<Known, string>()
    this.#byRough.set(rough, found.set(known, call.exact()))
    const stop = this.#after(ms, () => {
      forget()
      over()
    })
    const forget = () => {
      stop()
      this.#timers.delete(known)
      found.delete(known)
      if (found.size === 0 && this.#byRough.get(rough) === found) this.#byRough.delete(rough)
    }
    this.#timers.set(known, forget)
  }

  /** The one that came first. */
  find(call: SameCall): Known | null {
    const found = this.#byRough.get(call.rough)
    if (found === undefined) return null
    const wanted = call.exact()
    for (const [known, exact] of found) if (exact === wanted) return known
    return null
  }

  has(known: Known): boolean {
    return this.#timers.has(known)
  }

  forget(known: Known): void {
    this.#timers.get(known)?.()
  }

  all(): Known[] {
    return [...this.#timers.keys()]
  }
}
