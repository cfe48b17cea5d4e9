/** Decides the answer to a call from the state of the simulated world, the call, the time and the dice.
 *  Order of the gates: faults, hidden capacity, quota, the model. */
import type { Millis } from '#contracts/units'
import type { Answer } from './answer.ts'
import { makeId, type Dice } from './chance.ts'
import type { FaultSchedule, Hits, Target } from './fault-schedule.ts'
import { cutShort, errorAnswer, insteadOf, modified, type Voice } from './faulty-answer.ts'
import { messageBody, messageStream } from './message.ts'
import type { Limits, Settings } from './options.ts'
import type { Order } from './order.ts'
import { quotaHeaders } from './quota-headers.ts'
import type { Draw, Limiter, Quota, Standing } from './quota.ts'
import { drawService, outputBy } from './service.ts'

/** Everything an answer depends on besides its request. */
export interface World {
  settings: Settings
  quota: Quota
  faults: FaultSchedule
  /** Hidden concurrency in force when no fault sets another. */
  capacity: number
  /** Limits of the organisation by quota class; `''` holds those of every other class. */
  limits: Map<string, Limits>
  /** Messages calls being answered, the new one included. */
  inFlight: number
}

/** A call as the gates see it. */
export interface Call {
  order: Order
  /** Hash prefix of the API key. */
  key: string
  ordinal: number
  requestId: string
}

/** Above the hidden capacity this times the excess share is refused. Source: control laws, §scenarios. */
const REFUSED_PER_EXCESS = 1.5
const REFUSAL_MS = { min: 300, max: 800 }

/** The answer to a Messages call, and what it drew from the quota. */
export function decide(
  world: World,
  call: Call,
  now: Millis,
  dice: Dice,
): { answer: Answer; draw: Draw } {
  const { order, requestId } = call
  const target: Target = { path: 'messages', model: order.model, stream: order.stream }
  const draw = drawOf(world, target, { ...call, quotaClass: order.quotaClass }, now)
  const voice: Voice = {
    requestId,
    quotaHeaders: (empty) => quotaHeaders(emptied(world.quota.look(draw), empty, now), order.fast),
  }
  const hits = world.faults.strike(target, now, dice)
  const answer = withFaults(hits, voice, () =>
    rightAnswer(world, call, { draw, voice, target, dice }),
  )
  return { answer, draw }
}

/** Any answer, as the faults in force would have it. */
export function withFaults(hits: Hits, voice: Voice, right: () => Answer): Answer {
  if (hits.main === null && hits.modifiers.length === 0) return right()
  const instead = hits.main === null ? null : insteadOf(hits.main, voice)
  if (instead !== null) return modified(instead, hits.modifiers)
  const answer = right()
  const cut =
    hits.main === null || answer.status !== 200
      ? answer
      : cutShort(answer, hits.main, voice.requestId)
  return modified(cut, hits.modifiers)
}

/** What a call asks of the quota, with the limits in force. */
export function drawOf(
  world: World,
  target: Target,
  call: { quotaClass: string; key: string; order?: Order },
  now: Millis,
): Draw {
  const own = world.limits.get(call.quotaClass) ?? world.limits.get('') ?? {}
  const dropped = world.faults.limits(target, now)
  return {
    quotaClass: call.quotaClass,
    key: call.key,
    estimatedInput: call.order?.estimatedInput ?? 0,
    limits: {
      organization: dropped === null ? own : { ...own, ...dropped },
      workspace: world.settings.workspaceLimits,
    },
    now,
  }
}

/** A refusal by the quota, in the API's words. */
export function overQuota(
  refusal: { limiter: Limiter; limit: number; retryAfterS: number; standing: Standing },
  voice: { requestId: string; model: string; fast: boolean },
): Answer {
  const unit = refusal.limiter.replace('-', ' ')
  const message =
    `This request would exceed your organization's rate limit of ${refusal.limit.toLocaleString('en-US')} ` +
    `${unit} per minute (model: ${voice.model}).`
  const headers = ['retry-after', String(refusal.retryAfterS)]
  const error = { status: 429, type: 'rate_limit_error', message, headers } as const
  return errorAnswer(error, voice.requestId, quotaHeaders(refusal.standing, voice.fast))
}

function rightAnswer(
  world: World,
  call: Call,
  p: { draw: Draw; voice: Voice; target: Target; dice: Dice },
): Answer {
  const { order, requestId } = call
  const { draw, target, dice } = p
  const capacity = world.faults.capacity(target, draw.now) ?? world.capacity
  const excess = 1 - capacity / world.inFlight
  if (excess > 0 && dice() < Math.min(1, REFUSED_PER_EXCESS * excess)) {
    const headersAt = REFUSAL_MS.min + dice() * (REFUSAL_MS.max - REFUSAL_MS.min)
    const headers = ['retry-after', '0', 'x-should-retry', 'true']
    const error = { status: 529, type: 'overloaded_error', message: 'Overloaded', headers } as const
    return { ...errorAnswer(error, requestId, p.voice.quotaHeaders()), headersAt }
  }
  const admission = world.quota.admit(draw)
  if (!admission.ok) return overQuota(admission, { ...order, requestId })
  // the estimate is corrected at once: the prompt is counted before the first word
  world.quota.charge(draw, {
    // What is written into a cache is taken from the quota as well; what is read from one is free.
    ...{ input: order.input + order.cacheWrite - order.estimatedInput, output: 0 },
  })
  return modelAnswer(world, call, quotaHeaders(admission.standing, order.fast), dice)
}

function modelAnswer(world: World, call: Call, quota: readonly string[], dice: Dice): Answer {
  const { order } = call
  const service = drawService(order, world.settings, dice)
  const telling = { order, service, messageId: makeId('msg_01', call.ordinal, dice) }
  const { pingEveryMs } = world.settings
  return {
    status: 200,
    headers: order.stream
      ? ['content-type', 'text/event-stream; charset=utf-8', 'cache-control', 'no-cache', ...quota]
      : ['content-type', 'application/json', ...quota],
    headersAt: order.stream ? service.ttftMs : service.totalMs,
    body: order.stream
      ? { kind: 'script', script: messageStream({ ...telling, pingEveryMs }), promised: null }
      : { kind: 'whole', text: messageBody(telling) },
    accepted: true,
    executed: true,
    work: { input: order.input, outputBy: (elapsed) => outputBy(service, elapsed) },
    fromApi: true,
    fault: null,
    ragged: false,
    closeAfterMs: null,
  }
}

function emptied(standing: Standing, limiter: Limiter | undefined, now: Millis): Standing {
  if (limiter === undefined) return standing
  const { limit } = standing[limiter]
  return { ...standing, [limiter]: { limit, remaining: 0, fullAt: now + 60_000 } }
}
