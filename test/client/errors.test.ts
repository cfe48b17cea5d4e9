/** Errors that say their code. */
import { expect, test } from 'vitest'
import { HeadgateError, isHeadgateError } from '#client'
import { errorIn } from '../../services/client/errors.ts'

const full: unknown = new HeadgateError({ code: 'queue_full', message: 'full' })

test('the guard narrows to the codes that are named', () => {
  const said: string[] = []
  if (isHeadgateError(full, 'queue_full')) {
    const code: 'queue_full' = full.code
    said.push(code)
  }
  if (isHeadgateError(full, 'breaker_open', 'queue_full')) {
    const code: 'breaker_open' | 'queue_full' = full.code
    said.push(code)
  }
  // @ts-expect-error: no such code
  if (isHeadgateError(full, 'full_queue')) said.push('never')
  expect(said).toEqual(['queue_full', 'queue_full'])
})

test('with no code named it knows any HeadgateError, and nothing else', () => {
  expect(isHeadgateError(full)).toBe(true)
  expect(isHeadgateError(full, 'pending')).toBe(false)
  const others = [new Error('queue_full'), { code: 'queue_full' }, null, undefined, 'queue_full']
  for (const other of others) expect(isHeadgateError(other)).toBe(false)
})

/** A message with these headers and this body, as an error. */
const read = (body: unknown, headers: Record<string, string>) =>
  errorIn({
    subject: '_INBOX_acme.x',
    nobody: false,
    data: new TextEncoder().encode(typeof body === 'string' ? body : JSON.stringify(body)),
    header: (name) => headers[name],
  })

test('an error on the wire is read whole', () => {
  const body = {
    error: { type: 'rate_limit_error', message: 'full' },
    headgate: { code: 'queue_full', retryable: true, retry_after_ms: 4_000 },
  }
  expect(read(body, { 'Nats-Service-Error-Code': '429', 'Headgate-Attempts': '2' })).toMatchObject({
    code: 'queue_full',
    message: 'full',
    status: 429,
    type: 'rate_limit_error',
    retryable: true,
    retryAfterMs: 4_000,
    accounting: { attempts: 2 },
  })
  expect(read(body, {})).toBe(null)
})

test('of one that is not ours is taken what can be', () => {
  const headers = { 'Nats-Service-Error-Code': '500', 'Nats-Service-Error': 'by header' }
  const bodies = ['no JSON', null, {}, { error: { type: 1, message: 2 }, headgate: { code: 'x', retry_after_ms: '4' } }] // prettier-ignore
  for (const body of bodies)
    expect(read(body, headers)).toMatchObject({
      code: 'upstream_error',
      message: 'by header',
      status: 500,
      type: null,
      retryable: false,
      retryAfterMs: null,
    })
})
