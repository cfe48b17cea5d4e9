/** count_tokens and models, as they come over the bus and go back: the upstream's own answer. */
import { modelsAsk } from '#contracts/models-ask'
import { plainWords } from '#contracts/plain-words'
import { firstIssue, HEADER, refusal, unattempted, type Refusal } from '#contracts/messages'
import type { RefusalCode } from '#contracts/refusals'
import type { AuxKind } from '#contracts/subjects'
import { typeOfStatus } from '#contracts/api-errors'
import type { AuxAnswer as UpstreamAnswer, Bus, BusMessage } from '#ports'
import { ofUpstream, type AuxAnswer, type AuxCalls } from './aux-calls.ts'
import type { Outbox } from './outbox.ts'
import { readHeaders } from './request-parse.ts'

interface Asked {
  kind: AuxKind
  tenant: string
  to: string
  message: BusMessage
  failed: (why: string) => void
}

export function auxDesk(of: {
  calls: AuxCalls
  bus: Bus
  outbox: Outbox
  makeId: () => string
  bytesMax: () => number
  /** Whose bound that is. */
  bytesBy: () => string
}): (asked: Asked) => void {
  /** Null: it may be made. */
  const wrongIn = ({ kind, message }: Asked, wrong: string | null): Refusal | null => {
    const bytes = message.data.length
    const bytesMax = of.bytesMax()
    if (bytes > bytesMax) {
      const size = `the body has ${bytes} bytes, at most ${bytesMax} are allowed by ${of.bytesBy()}`
      return refusal('payload_too_large', size)
    }
    const unfit = wrong ?? (kind === 'models' ? wrongModelsAsk(message.data) : null)
    return unfit === null ? null : refusal('invalid_request', unfit)
  }

  return (asked) => {
    const { kind, tenant, message } = asked
    const said = readHeaders(message)
    const id = said.id ?? of.makeId()
    const refused = wrongIn(asked, said.wrong)
    if (refused !== null) return refuse(of, asked, { id, sent: false, refusal: refused })
    of.calls.ask({
      kind,
      tenant,
      id,
      body: message.data.length === 0 ? null : new Uint8Array(message.data),
      headers: said.upstream,
      deadlineMs: said.deadlineMs,
      answer: (answer, sent) => give(of, asked, { id, sent, answer }),
    })
  }
}

/** Null: it is one. */
function wrongModelsAsk(body: Uint8Array): string | null {
  if (body.length === 0) return null
  try {
    const read = modelsAsk.safeParse(JSON.parse(new TextDecoder().decode(body)), {
      error: plainWords,
    })
    return read.success ? null : firstIssue(read.error)
  } catch {
    return 'body: expected JSON in UTF-8'
  }
}

type Ways = { bus: Bus; outbox: Outbox }

interface Said {
  id: string
  /** It had started upstream. */
  sent: boolean
}

function give(ways: Ways, asked: Asked, of: Said & { answer: AuxAnswer }): void {
  const { answer } = of
  if ('refusal' in answer) return refuse(ways, asked, { ...of, ...answer })
  const { status, requestId, body } = answer
  if (status >= 400)
    return refuse(ways, asked, { ...of, refusal: refusalOf(answer), requestId, body })
  try {
    const headers = requestId === null ? [] : [[HEADER.requestId, requestId] as const]
    ways.bus.publish(asked.to, body, { headers })
  } catch (error) {
    const why = error instanceof RangeError ? error.message : 'the bus would not take it'
    refuse(ways, asked, { ...of, refusal: ofUpstream(502, 'api_error', why) })
  }
}

function refuse(
  { outbox }: Ways,
  { tenant, to, failed }: Asked,
  no: Said & { refusal: Refusal; requestId?: string | null; body?: Uint8Array },
): void {
  const { id, sent } = no
  failed(no.refusal.code)
  const accounting = {
    ...unattempted(id),
    outcome: OUTCOMES[no.refusal.code] ?? (sent ? ('failed' as const) : ('refused' as const)),
    attempts: sent ? 1 : 0,
    upstreamRequestId: no.requestId ?? null,
  }
  const reply = outbox.reply({ tenant, id, to, stream: false })
  reply.refuse(no.refusal, accounting, no.body ?? null)
}

const OUTCOMES: Partial<Record<RefusalCode, 'cancelled' | 'expired'>> = {
  cancelled: 'cancelled',
  deadline_exceeded: 'expired',
}

/** Nothing outside lanes is tried again here, so what may pass is said to be so. */
function refusalOf({ status, retryAfterMs }: UpstreamAnswer): Refusal {
  const passing = PASSING.has(status) || (status >= 500 && status !== 501)
  const code = passing ? 'retries_exhausted' : 'upstream_error'
  return refusal(code, `upstream: status ${status}`, {
    status,
    type: typeOfStatus(status),
    ...(retryAfterMs == null ? {} : { retryAfterMs }),
  })
}

const PASSING: ReadonlySet<number> = new Set([408, 429])
