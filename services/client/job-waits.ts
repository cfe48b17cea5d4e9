/** Waiting for the result of a job, whatever goes away and comes back meanwhile. The result is published once, and
 *  whoever is away then misses it: so a wait listens first, asks for what is stored, and asks again after each
 *  reconnect, and now and then in any case. */
import type { Message } from '@anthropic-ai/sdk/resources/messages'
import { DEADLINE_MAX_MS } from '#contracts/messages'
import { answerOf } from './answer.ts'
import { checkSignal, checkToken } from './call.ts'
import type { Answer, Headgate, Jobs, JobWaitOptions } from './contract.ts'
import { errorIn, isHeadgateError, refusedHere, unreachable } from './errors.ts'
import type { Inside } from './inside.ts'
import { checkNames } from './options.ts'
import { questions } from './questions.ts'

/** Between two questions: the first soon, since a server of a cluster may not know at once that we listen. */
const LOOK_AGAIN_MS = 2_000
const LOOK_AGAIN_MOST_MS = 60_000
/** After a reconnect all who wait ask; so many of them in a second. */
const LOOKS_PER_SECOND = 1_000

export function jobWaits(inside: Inside): Jobs {
  const { result } = questions(inside)
  const waits: Waits = { count: 0 }
  return {
    async wait(job, options = {}) {
      checkNames('wait', 'jobs.wait', options)
      const id = typeof job === 'string' ? job : job?.id
      checkToken('id', id)
      checkTimeout(options.timeoutMs)
      checkSignal(options.signal)
      options.signal?.throwIfAborted()
      return new Wait({ inside, id, options, result, waits }).begin()
    },
  }
}

/** All that go on. */
interface Waits {
  count: number
}

interface WaitOptions {
  inside: Inside
  id: string
  options: JobWaitOptions
  result: Headgate['result']
  waits: Waits
}

class Wait {
  readonly #of: WaitOptions
  readonly #settle = Promise.withResolvers<Answer<Message>>()
  readonly #asking = new AbortController()
  readonly #ends: (() => void)[] = []
  #over = false
  #stopLooking = (): void => {}

  constructor(of: WaitOptions) {
    this.#of = of
  }

  begin(): Promise<Answer<Message>> {
    const { inside, options, waits } = this.#of
    const { timeoutMs } = options
    waits.count += 1
    this.#listen()
    if (timeoutMs !== undefined)
      this.#ends.push(inside.system.after(timeoutMs, () => this.#fail(late(timeoutMs))))
    // Without a server at the beginning it is told at once, as every call is.
    inside.transport.ready().then(
      () => (this.#over ? undefined : this.#look(LOOK_AGAIN_MS)),
      (error: unknown) => this.#fail(unreachable(error)),
    )
    return this.#settle.promise
  }

  #listen(): void {
    const { inside, id, options, waits } = this.#of
    const { transport, tenant, to, box, system } = inside
    const { signal } = options
    const subject = to.result(tenant, id)
    const fail = (error: unknown): void => this.#fail(error)
    // A wait is a call of this client: it counts among them, and ends with them.
    const slot = box.open({ subject, fail, on: () => {} })
    const heard = transport.subscribe(subject, (message) => {
      const error = errorIn(message)
      if (error === null) this.#end(() => this.#settle.resolve(answerOf<Message>(message)))
      else fail(error)
    })
    const stopReturns = transport.onReturn?.(() =>
      this.#lookIn((system.random() * waits.count * 1_000) / LOOKS_PER_SECOND, LOOK_AGAIN_MS),
    )
    const onAbort = (): void => fail(signal?.reason)
    signal?.addEventListener('abort', onAbort)
    this.#ends.push(
      () => slot.close(),
      () => heard.close(),
      () => stopReturns?.(),
      () => signal?.removeEventListener('abort', onAbort),
    )
  }

  async #look(next: number): Promise<void> {
    const { inside, id, result } = this.#of
    try {
      const answer = await result(id, { signal: this.#asking.signal })
      this.#end(() => this.#settle.resolve(answer))
    } catch (error) {
      if (!passes(error)) return this.#fail(error)
      const ms = next * (0.5 + inside.system.random())
      this.#lookIn(ms, Math.min(2 * next, LOOK_AGAIN_MOST_MS))
    }
  }

  #lookIn(ms: number, next: number): void {
    this.#stopLooking()
    if (!this.#over)
      this.#stopLooking = this.#of.inside.system.after(ms, () => void this.#look(next))
  }

  #fail(error: unknown): void {
    this.#end(() => this.#settle.reject(error))
  }

  #end(how: () => void): void {
    if (this.#over) return
    this.#over = true
    this.#of.waits.count -= 1
    this.#stopLooking()
    this.#asking.abort()
    for (const stop of this.#ends) stop()
    how()
  }
}

/** It says nothing of the job: another time the question may be answered. */
const passes = (error: unknown): boolean =>
  isHeadgateError(error, 'pending', 'unreachable', 'no_answer', 'client_full')

const late = (ms: number) =>
  refusedHere('pending', `no result within ${ms} ms; the job goes on, and may be waited for again`)

function checkTimeout(ms: number | undefined): void {
  if (ms !== undefined && !(ms >= 1 && ms <= DEADLINE_MAX_MS))
    throw new TypeError(`timeoutMs: expected a number from 1 to ${DEADLINE_MAX_MS}`)
}
