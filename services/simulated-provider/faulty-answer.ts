/** What a fault makes of an answer. */
import { edgePage, errorBody, errorTypeOf, type ApiError, type ErrorType } from './api-error.ts'
import { plainAnswer, type Answer, type Script } from './answer.ts'
import type { FaultSpec, Shape } from './faults.ts'
import type { Hit } from './fault-schedule.ts'
import { frame } from './message.ts'
import type { Limiter } from './quota.ts'

/** What an answer in the API's words needs to know about its request. */
export interface Voice {
  requestId: string
  /** Rate-limit headers as of now, with one limiter shown empty if asked. */
  quotaHeaders(empty?: Limiter): string[]
}

/** An answer in place of the right one; null for a fault that needs the right one. */
export function insteadOf({ spec, row }: Hit, voice: Voice): Answer | null {
  const { shape } = row
  const executed = spec.executed ?? row.executed ?? false
  const fault = { fault: spec.kind, executed, headersAt: spec.waitMs ?? 0 }
  switch (shape.does) {
    case 'error': {
      const error = faultyError(shape, spec)
      const quota = shape.bare === true ? [] : voice.quotaHeaders(shape.limiter)
      return { ...errorAnswer(error, voice.requestId, quota), ...fault }
    }
    case 'page': {
      const headers = shape.redirect === undefined ? [] : ['location', shape.redirect]
      const text = edgePage(shape.status, shape.title)
      const contentType = 'text/html; charset=UTF-8'
      const answer = plainAnswer({ status: shape.status, text, headers, contentType })
      return { ...answer, ...fault, accepted: false, fromApi: false }
    }
    case 'nonsense':
      return { ...plainAnswer({ status: 200, ...NONSENSE[shape.body] }), ...fault }
    case 'silence':
      return {
        ...plainAnswer({ status: 0, text: '' }),
        ...fault,
        headersAt: shape.ending === 'stall' ? Infinity : fault.headersAt,
        body: { kind: 'nothing', ending: shape.ending },
        accepted: true,
      }
    default:
      return null
  }
}

/** The right answer, cut as a fault asks. */
export function cutShort(answer: Answer, { spec, row }: Hit, requestId: string): Answer {
  const { shape } = row
  const { body } = answer
  if (shape.does === 'cut') {
    const after = spec.after ?? shape.after
    if (body.kind === 'script') {
      return {
        ...answer,
        fault: spec.kind,
        body: { ...body, script: cutScript(body.script, shape, after) },
      }
    }
    const text = body.kind === 'whole' ? body.text : ''
    const script = cutScript(oneCue(text, answer.headersAt), shape, after)
    const promised = Buffer.byteLength(text)
    return { ...answer, fault: spec.kind, body: { kind: 'script', script, promised } }
  }
  if (shape.does === 'error-event' && body.kind === 'script') {
    const type: ErrorType = spec.errorType ?? shape.type
    const code = spec.code === undefined ? {} : { code: spec.code }
    const error = { type, message: spec.message ?? shape.message, ...code }
    const data = errorBody(error, requestId)
    const at = { count: spec.after ?? shape.after, counts: shape.counts }
    const script = errorScript(body.script, at, frame('error', data))
    const executed = spec.executed ?? row.executed ?? answer.executed
    return { ...answer, fault: spec.kind, executed, body: { ...body, script } }
  }
  return answer
}

/** The answer with everything that merely changes its manner. */
export function modified(answer: Answer, modifiers: readonly Hit[]): Answer {
  let changed = answer
  for (const { spec, row } of modifiers) {
    if (row.shape.does !== 'modify') continue
    const waitMs = spec.waitMs ?? row.shape.waitMs
    const fault = changed.fault ?? spec.kind
    if (row.shape.what === 'late')
      changed = { ...changed, fault, headersAt: changed.headersAt + waitMs }
    else if (row.shape.what === 'ragged') changed = { ...changed, fault, ragged: true }
    else changed = { ...changed, fault, closeAfterMs: waitMs }
  }
  return changed
}

/** An error in the API's words. */
export const errorAnswer = (
  error: ApiError,
  requestId: string,
  quota: readonly string[] = [],
): Answer =>
  plainAnswer({
    status: error.status,
    text: errorBody(error, requestId),
    headers: [...(error.headers ?? []), ...quota],
  })

function faultyError(shape: Extract<Shape, { does: 'error' }>, spec: FaultSpec): ApiError {
  const status = spec.status ?? shape.status
  const retryAfter = spec.retryAfter === undefined ? shape.retryAfter : spec.retryAfter
  const code = spec.code ?? shape.code
  return {
    status,
    type: spec.errorType ?? shape.type ?? errorTypeOf(status),
    message: spec.message ?? shape.message,
    ...(code === undefined ? {} : { code }),
    headers: [
      ...(retryAfter === undefined || retryAfter === null
        ? []
        : ['retry-after', String(retryAfter)]),
      ...(shape.shouldRetry === true ? ['x-should-retry', 'true'] : []),
    ],
  }
}

const NONSENSE = {
  empty: { text: '' },
  html: { text: edgePage(200, 'Welcome'), contentType: 'text/html; charset=UTF-8' },
  'broken-json': { text: '{"id":"msg_01broken","type":"message","content":[{"type":"text","te' },
} as const

function* oneCue(text: string, at: number): Script {
  yield { at, text, delta: false }
  return 'end'
}

function* cutScript(script: Script, shape: Extract<Shape, { does: 'cut' }>, after: number): Script {
  let sent = 0
  for (const cue of script) {
    const last =
      shape.ending === 'early' && after === Infinity && cue.text.includes('"message_stop"')
    if (sent >= after || last) {
      if (shape.partial) yield { ...cue, text: cue.text.slice(0, Math.ceil(cue.text.length / 2)) }
      return shape.ending
    }
    yield cue
    sent++
  }
  return shape.ending
}

function* errorScript(
  script: Script,
  at: { count: number; counts: 'events' | 'deltas' },
  text: string,
): Script {
  let sent = 0
  let now = 0
  for (const cue of script) {
    now = cue.at
    if (sent >= at.count) break
    yield cue
    if (at.counts === 'events' || cue.delta) sent++
  }
  yield { at: now, text, delta: false }
  return 'early'
}
