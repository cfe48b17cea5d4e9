/** A job as a message of its stream: its headers say all that is known of it without its body. */
import type { Msg, MsgHdrs } from '@nats-io/transport-node'
import { jobClaim, NO_GROUP, STORED, type JobClaim } from '#contracts/jobs'
import { HEADER, type DegradeStep, type UpstreamHeaders } from '#contracts/messages'
import type { BusHeaders, JobHead, NewJob } from '#ports'

/** What the headers of a stored message may take beside its body. */
export const STORED_OVERHEAD_BYTES = 4_096

export const UNREADABLE_CLAIM: JobClaim = {
  ...{ by: 'unknown', claims: 1, attempts: 0, calling: true, ambiguous: 0 },
}
export interface WithHeaders {
  headers?: MsgHdrs | undefined
}

export function claimIn(subject: string): { tenant: string; id: string } {
  const [tenant = '', id = ''] = subject.split('.').slice(-2)
  return { tenant, id }
}

export function claimSaid({ data }: { data: Uint8Array }): JobClaim {
  const read = jobClaim.safeParse(jsonOf(data))
  // Not written by a version that we know: whoever it was, it holds the job until it is dead.
  return read.success ? read.data : UNREADABLE_CLAIM
}

export const header = (message: WithHeaders, name: string): string =>
  message.headers?.get(name) ?? ''
export const seqOf = (message: Msg): number => Number(header(message, 'Nats-Sequence'))

export function jsonOf(data: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(data))
  } catch {
    return null
  }
}

/** All but the server's own. */
export function ownHeaders(message: Msg): BusHeaders {
  const headers: [string, string][] = []
  for (const [name, values] of message.headers ?? [])
    if (!/^Nats-(?!Service-)/i.test(name)) for (const value of values) headers.push([name, value])
  return headers
}

export function headersOf(job: NewJob): [string, string][] {
  const headers: [string, string][] = [
    [STORED.hash, job.hash],
    [STORED.acceptedAt, String(job.acceptedAt)],
    [HEADER.deadline, String(job.deadlineMs)],
  ]
  if (job.notBeforeMs > 0) headers.push([HEADER.notBefore, String(job.notBeforeMs)])
  if (job.group !== NO_GROUP) headers.push([HEADER.batch, job.group])
  if (job.degrade.length > 0) headers.push([HEADER.degrade, job.degrade.join(',')])
  if (job.maxAttempts !== null) headers.push([HEADER.maxAttempts, String(job.maxAttempts)])
  if (job.prefix !== undefined) headers.push([HEADER.prefix, job.prefix])
  for (const name of UPSTREAM) {
    const value = job.headers[name]
    if (value !== undefined) headers.push([HEADER[name], value])
  }
  return headers
}

export const UPSTREAM = ['version', 'beta', 'traceparent', 'tracestate'] as const

/** Null: it is none of ours. */
export function headOf(
  message: WithHeaders,
  { subject, seq, root }: { subject: string; seq: number; root: string },
): JobHead | null {
  const [kind, , lane, tenant, id, ...more] = subject.slice(root.length + 1).split('.')
  if (kind !== 'job' || lane === undefined || tenant === undefined || id === undefined) return null
  if (more.length > 0) return null
  const number = (name: string, otherwise: number): number => {
    const value = Number(header(message, name) || otherwise)
    return Number.isFinite(value) ? value : otherwise
  }
  const maxAttempts = number(HEADER.maxAttempts, 0)
  const prefix = header(message, HEADER.prefix)
  const upstream: UpstreamHeaders = {}
  for (const name of UPSTREAM) {
    const value = header(message, HEADER[name])
    if (value !== '') upstream[name] = value
  }
  return {
    ...{ lane, tenant, id, seq },
    group: header(message, HEADER.batch) || NO_GROUP,
    hash: header(message, STORED.hash),
    acceptedAt: number(STORED.acceptedAt, Date.parse(header(message, 'Nats-Time-Stamp')) || 0),
    deadlineMs: number(HEADER.deadline, 86_400_000),
    notBeforeMs: number(HEADER.notBefore, 0),
    degrade: header(message, HEADER.degrade).split(',').filter(Boolean) as DegradeStep[],
    maxAttempts: maxAttempts === 0 ? null : maxAttempts,
    ...(prefix === '' ? {} : { prefix }),
    headers: upstream,
  }
}
