/** From events to the lines of a recording: what was queued and how it settled, joined by tenant and id.
 *  Bound: `OPEN_MAX` requests that have not settled; beyond it the oldest is forgotten, and counted. */
import { createHash } from 'node:crypto'
import { ceType, eventData } from '#contracts/events'
import { isModel, requestKey } from '#contracts/ids'
import { recordedRequest, type RecordedRequest } from '#contracts/recording'

export const OPEN_MAX = 100_000
const HASH_CHARS = 12

/** As it came over the feed. */
export interface FeedEvent {
  type: string
  time: string
  /** Its data, JSON. */
  text(): string
}

export interface Recorder {
  hear(event: FeedEvent): void
  counts(): {
    written: number
    /** Had arrived before the recording began. */
    before: number
    /** Are still open. */
    unsettled: number
    /** Forgotten while open. */
    dropped: number
    unreadable: number
  }
}

/** What a request asked for. */
interface Asked {
  /** Wall time of its arrival, by the scheduler's clock. */
  at: number
  model: string | null
  stream: boolean | null
  maxTokens: number | null
  deadlineMs: number | null
}

const QUEUED = ceType('request.queued')
const SETTLED = ceType('request.settled')
/** Of a scheduler that does not tell who answered, too. */
const settledShape = eventData['request.settled'].partial({ served_by: true })

export function recorder(of: {
  /** A clock that never jumps. */
  now(): number
  /** What stands in the file for a tenant. */
  name(tenant: string): string
  write(request: RecordedRequest): void
}): Recorder {
  const open = new Map<string, Asked>()
  const counts = { written: 0, before: 0, dropped: 0, unreadable: 0 }
  const began = of.now()
  /** The start of the recording on the scheduler's clock; ours may say something else. */
  let zero: number | null = null

  const queued = (at: number, value: unknown): void => {
    const asked = askedOf(at, value)
    if (asked === null) return void counts.unreadable++
    // One that comes back is the newest again.
    open.delete(asked.key)
    open.set(asked.key, asked.asked)
    if (open.size <= OPEN_MAX) return
    for (const oldest of open.keys()) {
      open.delete(oldest)
      counts.dropped++
      return
    }
  }
  const settled = (at: number, start: number, value: unknown): void => {
    const checked = settledShape.safeParse(value)
    if (!checked.success) return void counts.unreadable++
    const { data } = checked
    const key = requestKey(data.tenant, data.id)
    const asked = open.get(key)
    open.delete(key)
    const atMs = (asked?.at ?? at - data.total_ms) - start
    if (atMs < 0) return void counts.before++
    const model = asked?.model ?? data.model
    const line = recordedRequest.safeParse({
      ...data,
      at_ms: atMs,
      tenant: of.name(data.tenant),
      model: model !== null && isModel(model) ? model : null,
      stream: asked?.stream ?? null,
      max_tokens: asked?.maxTokens ?? null,
      deadline_ms: asked?.deadlineMs ?? null,
    })
    if (!line.success) return void counts.unreadable++
    counts.written++
    of.write(line.data)
  }

  return {
    hear({ type, time, text }) {
      if (type !== QUEUED && type !== SETTLED) return
      const at = Date.parse(time)
      const data = Number.isNaN(at) ? null : parsed(text())
      if (data === null) return void counts.unreadable++
      // The first word: so long after our start. A request that settles has arrived earlier than this.
      zero ??= at - (of.now() - began)
      if (type === QUEUED) queued(at, data)
      else settled(at, zero, data)
    },
    counts: () => ({ ...counts, unsettled: open.size }),
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown
  } catch {
    return null
  }
}

function askedOf(at: number, value: unknown): { key: string; asked: Asked } | null {
  if (typeof value !== 'object' || value === null) return null
  const data = value as Record<string, unknown>
  const { tenant, id, model, stream, max_tokens, deadline_ms } = data
  if (typeof tenant !== 'string' || typeof id !== 'string') return null
  const positive = (one: unknown): number | null =>
    typeof one === 'number' && Number.isFinite(one) && one >= 1 ? one : null
  const asked = {
    at,
    model: typeof model === 'string' ? model : null,
    stream: typeof stream === 'boolean' ? stream : null,
    maxTokens: positive(max_tokens),
    deadlineMs: positive(deadline_ms),
  }
  return { key: requestKey(tenant, id), asked }
}

/** A name that is equal for equal tenants and says nothing of them to whoever lacks the salt. */
export const hashedNames =
  (salt: string) =>
  (tenant: string): string =>
    createHash('sha256').update(`${salt}/${tenant}`).digest('hex').slice(0, HASH_CHARS)
