/** Waiting for the result of a job, whatever goes away and comes back meanwhile. The result is published once, and
 *  whoever is away then misses it: so a wait listens first, asks for what is stored, and asks again after each
 *  reconnect, and now and then in any case. */
import type { Message } from '@anthropic-ai/sdk/resources/messages'
import { DEADLINE_MAX_MS } from '#contracts/messages'
import { answerOf } from './answer.ts'
import { checkSignal, checkToken } from './call.ts'
import type { Answer, Jobs, JobWaitOptions } from './contract.ts'
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
  const { transport, tenant, to, box, system } = inside
  const { result } = questions(inside)
  let waits = 0

  const begin = (
    id: string,
    { timeoutMs, signal }: JobWaitOptions,
    settle: PromiseWithResolvers<Answer<Message>>,
  ): void => {
    const subject = to.result(tenant, id)
    const ends: (() => void)[] = []
    const asking = new AbortController()
    let over = false
    let stopLooking = (): void => {}
    const end = (how: () => void): void => {
      if (over) return
      over = true
      waits -= 1
      stopLooking()
      asking.abort()
      for (const stop of ends) stop()
      how()
    }
    const fail = (error: unknown): void => end(() => settle.reject(error))
    const lookIn = (ms: number, next: number): void => {
      stopLooking()
      if (!over) stopLooking = system.after(ms, () => void look(next))
    }
    const look = async (next: number): Promise<void> => {
      try {
        const answer = await result(id, { signal: asking.signal })
        end(() => settle.resolve(answer))
      } catch (error) {
        if (!passes(error)) return fail(error)
        lookIn(next * (0.5 + system.random()), Math.min(2 * next, LOOK_AGAIN_MOST_MS))
      }
    }

    waits += 1
    // A wait is a call of this client: it counts among them, and ends with them.
    const slot = box.open({ subject, fail, on: () => {} })
    const heard = transport.subscribe(subject, (message) => {
      const error = errorIn(message)
      if (error === null) end(() => settle.resolve(answerOf<Message>(message)))
      else fail(error)
    })
    const stopReturns = transport.onReturn?.(() =>
      lookIn((system.random() * waits * 1_000) / LOOKS_PER_SECOND, LOOK_AGAIN_MS),
    )
    const onAbort = (): void => fail(signal?.reason)
    signal?.addEventListener('abort', onAbort)
    ends.push(
      () => slot.close(),
      () => heard.close(),
      () => stopReturns?.(),
      () => signal?.removeEventListener('abort', onAbort),
    )
    if (timeoutMs !== undefined) ends.push(system.after(timeoutMs, () => fail(late(timeoutMs))))
    // Without a server at the beginning it is told at once, as every call is.
    transport.ready().then(
      () => (over ? undefined : look(LOOK_AGAIN_MS)),
      (error: unknown) => fail(unreachable(error)),
    )
  }

  return {
    async wait(job, options = {}) {
      checkNames('wait', 'jobs.wait', options)
      const id = typeof job === 'string' ? job : job?.id
      checkToken('id', id)
      checkTimeout(options.timeoutMs)
      checkSignal(options.signal)
      options.signal?.throwIfAborted()
      const settle = Promise.withResolvers<Answer<Message>>()
      begin(id, options, settle)
      return settle.promise
    },
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
