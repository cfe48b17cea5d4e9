/** count_tokens and models: outside lanes and slots, a few at once, the upstream's own answer. */
import { HEADER, refusal, type Refusal, type UpstreamHeaders } from '#contracts/messages'
import type { AuxKind } from '#contracts/subjects'
import type { Bus, BusMessage, Clock, Millis } from '#ports'
import type { Outbox } from './outbox.ts'
import { unattempted } from './outbox.ts'
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

export function auxDesk(of: {
  call: AuxCall
  bus: Bus
  outbox: Outbox
  clock: Pick<Clock, 'after'>
  limits: () => { auxInflightMax: number }
  bytesMax: () => number
}) {
  const { bus, outbox, clock } = of
  let inflight = 0

  return (asked: {
    kind: AuxKind
    tenant: string
    to: string
    message: BusMessage
    failed: (why: string) => void
  }): void => {
    const { kind, tenant, to, message, failed } = asked
    const refuse = (
      refused: Refusal,
      more: { requestId?: string | null; body?: Uint8Array } = {},
    ) => {
      failed(refused.code)
      const reply = outbox.reply({ tenant, id: '-', to, stream: false })
      const attempted = refused.code === 'upstream_error'
      const accounting = {
        ...unattempted('-'),
        outcome: attempted ? ('failed' as const) : ('refused' as const),
        attempts: attempted ? 1 : 0,
        upstreamRequestId: more.requestId ?? null,
      }
      reply.refuse(refused, accounting, more.body ?? null)
    }

    const bytesMax = of.bytesMax()
    const { auxInflightMax } = of.limits()
    const { headers, wrong } = upstreamHeaders(message)
    if (message.data.length > bytesMax) {
      const size = `the body has ${message.data.length} bytes, at most ${bytesMax} are allowed`
      return refuse(refusal('payload_too_large', size))
    }
    if (wrong !== null) return refuse(refusal('invalid_request', wrong))
    if (inflight >= auxInflightMax) {
      const full = `${inflight} ${kind} calls are under way, at most ${auxInflightMax} may be`
      return refuse(refusal('queue_full', full))
    }

    inflight += 1
    let answered = false
    const once = (answer: () => void) => {
      if (answered) return
      answered = true
      stopWaiting()
      answer()
    }
    const stopWaiting = clock.after(ANSWER_WITHIN_MS, () =>
      once(() => refuse(upstreamSaid(504, 'timeout_error', 'no answer in time'))),
    )
    const give = (answer: AuxAnswer) => {
      if ('refusal' in answer) return refuse(answer.refusal)
      const { status, requestId, body } = answer
      if (status >= 400) {
        const said = upstreamSaid(status, errorType(status), `status ${status}`)
        return refuse(said, { requestId, body })
      }
      try {
        const id = requestId === null ? [] : [[HEADER.requestId, requestId] as const]
        bus.publish(to, body, { headers: id })
      } catch (error) {
        const why = error instanceof RangeError ? error.message : 'the bus would not take it'
        refuse(upstreamSaid(502, 'api_error', why))
      }
    }
    const body = kind === 'models' ? null : new Uint8Array(message.data)
    of.call({ kind, tenant, body, headers }).then(
      (answer) => {
        inflight -= 1
        once(() => give(answer))
      },
      () => {
        inflight -= 1
        once(() => refuse(upstreamSaid(502, 'api_error', 'the call failed')))
      },
    )
  }
}

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
