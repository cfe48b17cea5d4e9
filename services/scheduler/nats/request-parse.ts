/** A message becomes a request, or a refusal that says which field and what was expected. Pure; never
 *  repeats the caller's text. Cost: one pass over the bytes of the body (`body-scan`). */
import { doubledHeaders, unknownHeader } from '#contracts/header-names'
import {
  HEADER,
  RECKONED_MAX_TOKENS,
  refusal,
  UNSTATED_MAX_TOKENS,
  requestHeaders,
  type Refusal,
  type UpstreamHeaders,
} from '#contracts/messages'
import { NO_GROUP } from '#contracts/jobs'
import type { BusMessage, Incoming, Millis } from '#ports'
import { prefixOfBody } from './body-prefix.ts'
import { scanBody, type ScanLimits } from './body-scan.ts'

/** What only a job may say. */
export interface JobHeaders {
  /** Whether the caller gave the id. */
  named: boolean
  notBeforeMs: Millis
  group: string
}

export type ParsedRequest =
  | ({ ok: true; job: JobHeaders } & Omit<Incoming, 'tenant' | 'lane' | 'reply'>)
  | { ok: false; id: string; model: string | null; stream: boolean; refusal: Refusal }

export function parseRequest(of: {
  message: Pick<BusMessage, 'data' | 'header' | 'names'>
  makeId: () => string
  bytesMax: number
  /** Whose bound that is. */
  bytesBy?: string
  scan?: ScanLimits | undefined
  /** Whether the body is looked at for a prefix that no header names; absent: no. */
  prefixes?: boolean | undefined
  /** What it is: a job has headers that a request has not. Absent: a request. */
  as?: 'request' | 'job'
}): ParsedRequest {
  const { data } = of.message
  const headers = readHeaders(of.message, of.as ?? 'request')
  const id = headers.id ?? of.makeId()
  const no = (refusal: Refusal, { model, stream }: { model: string | null; stream: boolean }) =>
    ({ ok: false, id, model, stream, refusal }) as const

  if (data.length > of.bytesMax) {
    const message = `the body has ${data.length} bytes, at most ${of.bytesMax} are allowed by ${of.bytesBy ?? 'limits.request_bytes'}`
    return no(refusal('payload_too_large', message), unparsed(data))
  }
  const body = scanBody(data, of.scan)
  if (!body.ok) return no(invalid(body.problem), body.known ?? unparsed(data))
  if (headers.wrong !== null) return no(invalid(headers.wrong), body)
  return {
    ok: true,
    id,
    model: body.model,
    stream: body.stream,
    maxTokens: Math.min(body.maxTokens ?? UNSTATED_MAX_TOKENS, RECKONED_MAX_TOKENS),
    mediaBytes: body.media.bytes,
    mediaTokens: body.media.tokens,
    mayAct: body.mayAct,
    speed: body.speed,
    tier: body.tier,
    prefix: headers.prefix ?? (of.prefixes === true ? prefixOfBody(data) : null),
    body: ownCopy(data),
    deadlineMs: headers.deadlineMs,
    degrade: headers.degrade,
    maxAttempts: headers.maxAttempts,
    headers: headers.upstream,
    job: { named: headers.id !== null, notBeforeMs: headers.notBeforeMs, group: headers.group },
  }
}

const invalid = (message: string) => refusal('invalid_request', message)

/** A body we do not parse may still have asked for a stream, whose reader waits for an end. */
function unparsed(data: Uint8Array): { model: null; stream: boolean } {
  const text = Buffer.from(data.buffer, data.byteOffset, data.length).toString('latin1')
  return { model: null, stream: /"stream"\s*:\s*true/.test(text) }
}

/** A message's bytes are a window on a socket read of 64 KB; a queued body must not keep all of it. One that has
 *  its memory for itself is not held twice. */
function ownCopy(data: Uint8Array): Uint8Array {
  if (data.buffer.byteLength !== data.length) return new Uint8Array(data)
  return data.constructor === Uint8Array ? data : new Uint8Array(data.buffer)
}

const FIELD_HEADER = {
  id: HEADER.id,
  deadlineMs: HEADER.deadline,
  degrade: HEADER.degrade,
  maxAttempts: HEADER.maxAttempts,
  prefix: HEADER.prefix,
  again: HEADER.again,
  notBeforeMs: HEADER.notBefore,
  batch: HEADER.batch,
} as const

export interface ReadHeaders {
  /** Null: none given, or not one. */
  id: string | null
  deadlineMs: number | null
  degrade: Incoming['degrade']
  maxAttempts: number | null
  prefix: string | null
  notBeforeMs: Millis
  group: string
  upstream: UpstreamHeaders
  /** The first thing wrong, as `name: what was expected`. */
  wrong: string | null
}

export function readHeaders(
  message: Pick<BusMessage, 'header' | 'names'>,
  as: 'request' | 'job' = 'request',
): ReadHeaders {
  const alone = { notBeforeMs: 0, group: NO_GROUP }
  const none = {
    id: null,
    deadlineMs: null,
    degrade: [],
    maxAttempts: null,
    prefix: null,
    ...alone,
    upstream: {},
  }
  const upstream = upstreamHeaders(message)
  if (upstream.wrong === UNREADABLE) return { ...none, wrong: UNREADABLE }
  const doubled = doubledHeaders(message.names())
  const given = {
    id: doubled.includes(HEADER.id) ? undefined : message.header(HEADER.id),
    deadlineMs: message.header(HEADER.deadline),
    degrade: message.header(HEADER.degrade),
    maxAttempts: message.header(HEADER.maxAttempts),
    prefix: message.header(HEADER.prefix),
    ...(as === 'request'
      ? { again: message.header(HEADER.again) }
      : {
          notBeforeMs: message.header(HEADER.notBefore),
          batch: message.header(HEADER.batch),
        }),
  }
  const twice = doubled[0] === undefined ? null : `${doubled[0]}: stands twice; expected it once`
  const wrong =
    unknownHeader(message.names(), as === 'job' ? 'job' : 'nats') ?? twice ?? upstream.wrong
  if (Object.values(given).every((value) => value === undefined)) {
    return { ...none, upstream: upstream.headers, wrong }
  }
  const read = requestHeaders.safeParse(given)
  if (read.success) {
    const { id, deadlineMs, degrade, maxAttempts, prefix, notBeforeMs, batch } = read.data
    return {
      id: id ?? null,
      deadlineMs: deadlineMs ?? null,
      degrade: degrade ?? [],
      maxAttempts: maxAttempts ?? null,
      prefix: prefix ?? null,
      notBeforeMs: notBeforeMs ?? 0,
      group: batch ?? NO_GROUP,
      upstream: upstream.headers,
      wrong,
    }
  }
  const issue = read.error.issues[0]
  const field = issue?.path[0]
  const name = field !== undefined && field in FIELD_HEADER ? String(field) : 'id'
  const idIsGood = read.error.issues.every(({ path }) => path[0] !== 'id')
  return {
    ...none,
    id: idIsGood ? (given.id ?? null) : null,
    wrong: `${FIELD_HEADER[name as keyof typeof FIELD_HEADER]}: ${issue?.message ?? 'not valid'}`,
  }
}

const UPSTREAM_CHARS_MAX = 1_024
const PRINTABLE = /^[\x20-\x7e]*$/
const TRACEPARENT = /^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/

const UNREADABLE = 'headers: expected fewer, at most limits.header_bytes in all'

/** What goes upstream beside the body. A broken trace context is left out, as W3C asks. */
function upstreamHeaders(message: Pick<BusMessage, 'header'>): {
  headers: UpstreamHeaders
  wrong: string | null
} {
  try {
    return readUpstreamHeaders(message)
  } catch {
    return { headers: {}, wrong: UNREADABLE }
  }
}

function readUpstreamHeaders(message: Pick<BusMessage, 'header'>) {
  const headers: UpstreamHeaders = {}
  let wrong: string | null = null
  for (const field of ['version', 'beta'] as const) {
    const value = message.header(HEADER[field])
    if (value === undefined || value === '') continue
    if (value.length <= UPSTREAM_CHARS_MAX && PRINTABLE.test(value)) headers[field] = value
    else
      wrong ??= `${HEADER[field]}: expected up to ${UPSTREAM_CHARS_MAX} printable ASCII characters`
  }
  const traceparent = message.header(HEADER.traceparent)
  if (traceparent !== undefined && TRACEPARENT.test(traceparent)) {
    headers.traceparent = traceparent
    const tracestate = message.header(HEADER.tracestate)
    if (tracestate !== undefined && tracestate.length <= 512 && PRINTABLE.test(tracestate)) {
      headers.tracestate = tracestate
    }
  }
  return { headers, wrong }
}
