/** count_tokens and models: outside lanes and slots, a few at once, the upstream's own answer. */
import { isToken } from '#contracts/ids'
import { modelsAsk } from '#contracts/models-ask'
import {
  firstIssue,
  HEADER,
  refusal,
  type Refusal,
  type UpstreamHeaders,
} from '#contracts/messages'
import type { AuxKind } from '#contracts/subjects'
import type { Bus, BusMessage, Clock, Millis } from '#ports'
import type { Outbox } from './outbox.ts'
import { unattempted } from '#contracts/messages'
import { upstreamHeaders } from './request-parse.ts'

/** The caller gets an answer by then; the call itself ends when its own time is up. */
const ANSWER_WITHIN_MS: Millis = 60_000

/** The upstream's answer, or a refusal of ours (a rejected tenant, a drain). */
export type AuxAnswer =
  { status: number; requestId: string | null; body: Uint8Array } | { refusal: Refusal }

export type AuxCall = (of: {
  kind: AuxKind
  tenant: string
  body: Uint8Array | null
  headers: UpstreamHeaders
}) => Promise<AuxAnswer>

interface Asked {
  kind: AuxKind
  tenant: string
  to: string
  message: BusMessage
  failed: (why: string) => void
}

export function auxDesk(of: {
  call: AuxCall
  bus: Bus
  outbox: Outbox
  clock: Pick<Clock, 'after'>
  limits: () => { auxInflightMax: number }
  bytesMax: () => number
}): (asked: Asked) => void {
  let inflight = 0

  /** Null: it may be made. */
  const refusalOf = ({ kind, message }: Asked, wrong: string | null): Refusal | null => {
    const bytes = message.data.length
    const bytesMax = of.bytesMax()
    const { auxInflightMax: max } = of.limits()
    if (bytes > bytesMax) {
      const size = `the body has ${bytes} bytes, at most ${bytesMax} are allowed`
      return refusal('payload_too_large', size)
    }
    const unfit = wrong ?? (kind === 'models' ? wrongModelsAsk(message.data) : null)
    if (unfit !== null) return refusal('invalid_request', unfit)
    if (inflight < max) return null
    return refusal('queue_full', `${inflight} ${kind} calls are under way, at most ${max} may be`)
  }

  return (asked) => {
    const { kind, tenant, message } = asked
    const { headers, wrong } = upstreamHeaders(message)
    const refused = refusalOf(asked, wrong)
    if (refused !== null) return refuse(of, asked, { refusal: refused })

    let answered = false
    const answerOnce = (answer: AuxAnswer) => {
      if (answered) return
      answered = true
      stopWaiting()
      give(of, asked, answer)
    }
    const stopWaiting = of.clock.after(ANSWER_WITHIN_MS, () =>
      answerOnce({ refusal: upstreamSaid(504, 'timeout_error', 'no answer in time') }),
    )
    const finish = (answer: AuxAnswer) => {
      inflight -= 1
      answerOnce(answer)
    }
    inflight += 1
    const body = message.data.length === 0 ? null : new Uint8Array(message.data)
    of.call({ kind, tenant, body, headers }).then(finish, () =>
      finish({ refusal: upstreamSaid(502, 'api_error', 'the call failed') }),
    )
  }
}

/** Null: it is one. */
function wrongModelsAsk(body: Uint8Array): string | null {
  if (body.length === 0) return null
  try {
    const read = modelsAsk.safeParse(JSON.parse(new TextDecoder().decode(body)))
    return read.success ? null : firstIssue(read.error)
  } catch {
    return 'body: expected JSON in UTF-8'
  }
}

type Ways = { bus: Bus; outbox: Outbox }

function give(ways: Ways, asked: Asked, answer: AuxAnswer): void {
  if ('refusal' in answer) return refuse(ways, asked, answer)
  const { status, requestId, body } = answer
  if (status >= 400) return refuse(ways, asked, { refusal: refusalOf(status), requestId, body })
  try {
    const headers = requestId === null ? [] : [[HEADER.requestId, requestId] as const]
    ways.bus.publish(asked.to, body, { headers })
  } catch (error) {
    const why = error instanceof RangeError ? error.message : 'the bus would not take it'
    refuse(ways, asked, { refusal: upstreamSaid(502, 'api_error', why) })
  }
}

function refuse(
  { outbox }: Ways,
  { tenant, to, message, failed }: Asked,
  no: { refusal: Refusal; requestId?: string | null; body?: Uint8Array },
): void {
  failed(no.refusal.code)
  const attempted = ['upstream_error', 'retries_exhausted'].includes(no.refusal.code)
  const id = idOf(message)
  const accounting = {
    ...unattempted(id),
    outcome: attempted ? ('failed' as const) : ('refused' as const),
    attempts: attempted ? 1 : 0,
    upstreamRequestId: no.requestId ?? null,
  }
  const reply = outbox.reply({ tenant, id, to, stream: false })
  reply.refuse(no.refusal, accounting, no.body ?? null)
}

/** Nothing here is known by an id; one that the caller gave is given back. */
function idOf(message: BusMessage): string {
  try {
    const given = message.header(HEADER.id)
    return given !== undefined && isToken(given) ? given : '-'
  } catch {
    // Headers that are too large are not read.
    return '-'
  }
}

/** Nothing outside lanes is tried again here, so what may pass is said to be so. */
function refusalOf(status: number): Refusal {
  const passing = PASSING.has(status) || (status >= 500 && status !== 501)
  const code = passing ? 'retries_exhausted' : 'upstream_error'
  return refusal(code, `upstream: status ${status}`, { status, type: errorType(status) })
}

const PASSING: ReadonlySet<number> = new Set([408, 429])

const upstreamSaid = (status: number, type: string, why: string) =>
  refusal('upstream_error', `upstream: ${why}`, { status, type })

function errorType(status: number): string {
  const types: Record<number, string> = {
    400: 'invalid_request_error',
    401: 'authentication_error',
    403: 'permission_error',
    404: 'not_found_error',
    413: 'request_too_large',
    429: 'rate_limit_error',
    529: 'overloaded_error',
  }
  return types[status] ?? (status < 500 ? 'invalid_request_error' : 'api_error')
}
