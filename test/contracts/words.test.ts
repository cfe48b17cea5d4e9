/** What does not fit is told in words of ours: where, what is allowed, and what stands there instead. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { readAdmin } from '#contracts/admin'
import { faultAsk, faultProblem } from '#contracts/dashboard'
import { firstIssue, requestHeaders } from '#contracts/messages'
import { modelsAsk } from '#contracts/models-ask'
import { plainWords } from '#contracts/plain-words'
import { ADMIN_OPS } from '#contracts/subjects'

/** As zod says it. */
const FOREIGN =
  /[Ii]nvalid|received|[Tt]oo (small|big)|[Uu]nrecognized|expected number|undefined|NaN/

const admin = (op: (typeof ADMIN_OPS)[number], text: string): string | null => {
  const read = readAdmin(op, text)
  return 'problem' in read ? read.problem : null
}
const problemOf = (schema: typeof modelsAsk | typeof requestHeaders, value: unknown) => {
  const read = schema.safeParse(value, { error: plainWords })
  return read.success ? null : firstIssue(read.error)
}

describe('an operator hears', () => {
  test.each([
    ['status', { id: 'x' }, /^tenant: expected 1 to 64 characters/],
    ['status', { tenant: 7, id: 'x' }, /^tenant: expected 1 to 64 characters/],
    ['emergency', {}, /^on: expected true or false$/],
    ['emergency', { on: true, resaon: 'x' }, /^body: nobody reads a key of that name; there are/],
    ['lane', { lane: 'batch', pasued: true }, /^paused: expected true or false$/],
    ['lane', { lane: 'batch', paused: true, lanes: 1 }, /; did you mean lane\?$/],
    ['drain', { now: true }, /^body: nobody reads a key of that name; there are instance$/],
    ['drain', { instance: 7 }, /^instance: expected the id of one instance$/],
    ['config', { yaml: 'x: 1', dry: true }, /^yaml: expected the whole file there/],
  ] as const)('%s %j', (op, body, words) => {
    expect(admin(op, JSON.stringify(body))).toMatch(words)
  })

  test('nothing is done of what was not read whole', () => {
    expect(readAdmin('drain', '{"dry_run":true}')).toHaveProperty('problem')
    expect(readAdmin('drain', '{}')).toEqual({ ask: { op: 'drain' }, instance: null })
    const one = readAdmin('emergency', '{"on":true,"instance":"a"}')
    expect(one).toEqual({ ask: { op: 'emergency', on: true }, instance: 'a' })
  })
})

test.each([
  [[], /^body: expected an object; it is a list$/],
  [7, /^body: expected an object; it is a number$/],
  [{ limit: 0 }, /^limit: expected a whole number from 1 to 1000$/],
  [{ id: 7 }, /^id: expected 1 to 128 characters/],
])('who asks for models hears: %j', (ask, words) => {
  expect(problemOf(modelsAsk, ask)).toMatch(words)
})

test('nothing says it as zod does, and nothing repeats what was sent', () => {
  const key = fc.constantFrom('on', 'lane', 'paused', 'tenant', 'id', 'instance', 'yaml', 'kind')
  const more = fc.constantFrom('limit', 'after_id', 'deadlineMs', 'degrade', 'for_ms', 'rpm', 'zzz')
  const value = fc.oneof(fc.jsonValue({ maxDepth: 2 }), fc.constantFrom('a secret', 1.5, -1, 1e300))
  const body = fc.oneof(fc.dictionary(fc.oneof(key, more), value), fc.jsonValue({ maxDepth: 2 }))
  fc.assert(
    fc.property(body, fc.constantFrom(...ADMIN_OPS), (json, op) => {
      const fault = faultAsk.safeParse(json, { error: plainWords })
      for (const said of [
        admin(op, JSON.stringify(json)),
        problemOf(modelsAsk, json),
        problemOf(requestHeaders, json),
        fault.success ? null : faultProblem(fault.error),
      ]) {
        if (said === null) continue
        expect(said).toMatch(/^[\w.]+: \S/)
        expect(said).not.toMatch(FOREIGN)
        expect(said).not.toContain('a secret')
      }
    }),
    { numRuns: 1_000 },
  )
})
