/** A recording's lines from events alone: joined, bounded, and with nothing in them that is not a number or
 *  a name. */
import { describe, expect, test } from 'vitest'
import { recordedRequest, type RecordedRequest } from '#contracts/recording'
import { hashedNames, OPEN_MAX, recorder, type Recorder } from '../../services/cli/recorder.ts'

const BEGAN = Date.parse('2026-01-01T00:00:00Z')

function world(name = (tenant: string) => tenant) {
  const written: RecordedRequest[] = []
  let now = 5_000
  const recording = recorder({ now: () => now, name, write: (one) => written.push(one) })
  /** At so many milliseconds of the recording, on a scheduler's clock of its own. */
  const hear = (kind: 'queued' | 'settled', at: number, data: object) => {
    now = 5_000 + at
    const time = new Date(BEGAN + at).toISOString()
    recording.hear({ type: `dev.headgate.request.${kind}`, time, text: () => JSON.stringify(data) })
  }
  return { recording, written, hear }
}

const about = (id: string) => ({ tenant: 'acme', lane: 'batch', id, model: 'claude-x', route: 'r' })
const queued = (id: string, more: object = {}) => ({
  ...about(id),
  ...{ stream: true, max_tokens: 64, bytes: 300, deadline_ms: 9_000, predicted_wait_ms: null },
  ...more,
})
const settled = (id: string, more: object = {}) => ({
  ...about(id),
  ...{ outcome: 'completed', code: null, reason: null, status: 200, error_type: null },
  ...{ attempts: 2, preemptions: 0, queue_ms: 10, upstream_ms: 380, total_ms: 400 },
  ...{ input_tokens: 7, output_tokens: 12 },
  ...more,
})

describe('a recording', () => {
  test('joins what was asked for with how it ended', () => {
    const { written, hear } = world()
    hear('queued', 100, queued('a'))
    hear('settled', 500, settled('a'))
    expect(written).toEqual([
      {
        ...{ at_ms: 100, tenant: 'acme', lane: 'batch', model: 'claude-x', stream: true },
        ...{ max_tokens: 64, deadline_ms: 9_000, input_tokens: 7, output_tokens: 12 },
        ...{ queue_ms: 10, upstream_ms: 380, total_ms: 400 },
        ...{ outcome: 'completed', code: null, attempts: 2 },
      },
    ])
  })

  test('has a refused request too, which nobody queued', () => {
    const { written, hear } = world()
    const refused = { outcome: 'refused', code: 'queue_full', total_ms: 0, output_tokens: null }
    hear('settled', 500, settled('a', { ...refused, model: 'not a model', input_tokens: null }))
    const unknown = { stream: null, max_tokens: null, deadline_ms: null, output_tokens: null }
    expect(written).toMatchObject([{ at_ms: 500, model: null, code: 'queue_full', ...unknown }])
  })

  test('leaves out what arrived before it began, and what has not settled', () => {
    const { written, hear, recording } = world()
    hear('queued', 100, queued('b'))
    hear('settled', 200, settled('a'))
    expect(written).toEqual([])
    expect(recording.counts()).toMatchObject({ before: 1, unsettled: 1, written: 0 })
  })

  test('reads events of a scheduler that does not tell what was asked for', () => {
    const { written, hear } = world()
    hear('queued', 100, about('a'))
    hear('settled', 500, settled('a'))
    expect(written).toMatchObject([{ at_ms: 100, stream: null, max_tokens: null }])
  })

  test('keeps a bounded number of open requests, and counts what it forgot', () => {
    const { written, hear, recording } = world()
    for (let n = 0; n <= OPEN_MAX; n++) hear('queued', 100, queued(`r${n}`))
    expect(recording.counts()).toMatchObject({ unsettled: OPEN_MAX, dropped: 1 })
    hear('settled', 600, settled('r0'))
    hear('settled', 600, settled('r1'))
    expect(written.map(({ max_tokens }) => max_tokens)).toEqual([null, 64])
  })

  test('takes nothing from the feed that its reader would refuse', () => {
    const { written, hear, recording } = world()
    const said = (recording: Recorder, type: string, time: string, text: string) =>
      recording.hear({ type, time, text: () => text })
    const SETTLED = 'dev.headgate.request.settled'
    said(recording, SETTLED, 'yesterday', '{}')
    said(recording, SETTLED, new Date(BEGAN).toISOString(), '{')
    said(recording, 'dev.headgate.breaker', 'never', '{')
    hear('queued', 1, { tenant: 7 })
    hear('settled', 2_000, settled('a', { tenant: 'no token' }))
    hear('settled', 2_000, settled('a', { output_tokens: -1 }))
    expect(written).toEqual([])
    expect(recording.counts()).toMatchObject({ unreadable: 5, written: 0 })
  })

  test('may hide tenants: equal ones stay equal, and no name is left', () => {
    const { written, hear } = world(hashedNames('salt'))
    for (const [id, tenant] of Object.entries({ a: 'acme', b: 'globex', c: 'acme' }))
      hear('settled', 500, settled(id, { tenant, total_ms: 0 }))
    const [a, b, c] = written.map(({ tenant }) => tenant)
    expect(a).toBe(c)
    expect(a).not.toBe(b)
    expect(a).toMatch(/^[0-9a-f]{12}$/)
    expect(hashedNames('pepper')('acme')).not.toBe(a)
    for (const one of written) expect(recordedRequest.safeParse(one).success).toBe(true)
  })
})
