/** Calls outside lanes: who may have one made, who waits, and that each is answered once. */
import { describe, expect, test } from 'vitest'
import type { AuxKind } from '#contracts/subjects'
import {
  auxCalls,
  type AuxAnswer,
  type AuxCall,
  type AuxLimits,
} from '../../../services/scheduler/nats/aux-calls.ts'
import { manualClock } from '../../support/manual-clock.ts'

interface Running {
  tenant: string
  kind: AuxKind
  signal: AbortSignal
  timeoutMs: number
  end: () => void
}

const fine = (): AuxAnswer => ({ status: 200, requestId: null, body: new Uint8Array(2) })

function world(limits: Partial<AuxLimits> = {}) {
  const clock = manualClock()
  const running: Running[] = []
  const call: AuxCall = ({ tenant, kind, signal, timeoutMs }) =>
    new Promise((resolve) => {
      const one: Running = { tenant, kind, signal, timeoutMs, end: () => resolve(fine()) }
      running.push(one)
    })
  const calls = auxCalls({
    clock,
    call,
    limits: () => ({
      inflightMax: 4,
      queuedMax: 8,
      queuedBytesMax: 1_000,
      waitMs: 10_000,
      timeoutMs: 30_000,
      ...limits,
    }),
  })
  const said: [string, string][] = []
  const ask = (tenant: string, id: string, more: { kind?: AuxKind; deadlineMs?: number } = {}) =>
    calls.ask({
      kind: more.kind ?? 'count_tokens',
      tenant,
      id,
      body: new Uint8Array(10),
      headers: {},
      deadlineMs: more.deadlineMs ?? null,
      answer: (answer) => said.push([id, 'refusal' in answer ? answer.refusal.code : 'answered']),
    })
  const tenants = () => running.map(({ tenant }) => tenant).join('')
  const settled = () => new Promise<void>((resolve) => queueMicrotask(() => resolve()))
  return {
    clock,
    calls,
    running,
    said,
    ask,
    tenants,
    async end(index: number) {
      running[index]?.end()
      for (let n = 0; n < 4; n++) await settled()
    },
  }
}

describe('one tenant', () => {
  test('holds three quarters of the places of a kind and not all, so that another is served at once', () => {
    const at = world()
    for (let n = 0; n < 8; n++) at.ask('a', `a${n}`)
    expect(at.tenants()).toBe('aaa')
    at.ask('b', 'b0')
    expect(at.tenants()).toBe('aaab')
  })

  test('holds half while others ask', async () => {
    const at = world()
    at.ask('b', 'b0')
    for (let n = 0; n < 4; n++) at.ask('a', `a${n}`)
    expect(at.tenants()).toBe('baa')
  })

  test('waits in at most half of the line', () => {
    const at = world()
    for (let n = 0; n < 8; n++) at.ask('a', `a${n}`)
    expect(at.said).toEqual([['a7', 'queue_full']])
    for (let n = 0; n < 3; n++) at.ask('b', `b${n}`)
    expect(at.said).toHaveLength(1)
  })
})

test('each kind has places of its own', () => {
  const at = world({ inflightMax: 1 })
  at.ask('a', 'a0')
  at.ask('a', 'a1', { kind: 'models' })
  expect(at.running.map(({ kind }) => kind)).toEqual(['count_tokens', 'models'])
})

test('a place goes to who has fewest under way, then round the tenants', async () => {
  const at = world({ inflightMax: 2, queuedMax: 20 })
  for (const who of ['a', 'a', 'a', 'b', 'b', 'c', 'c']) at.ask(who, `${who}${at.said.length}`)
  for (let n = 0; n < 7; n++) await at.end(n)
  expect(at.tenants()).toBe('abcabca')
  expect(at.said).toHaveLength(7)
})

test('a burst waits for its places and all of it is answered', async () => {
  const at = world({ inflightMax: 4, queuedMax: 100 })
  for (let n = 0; n < 34; n++) at.ask('a', `a${n}`)
  for (let n = 0; n < 34; n++) await at.end(n)
  expect(at.said.filter(([, how]) => how === 'answered')).toHaveLength(34)
  expect(at.clock.pending()).toBe(0)
})

describe('time', () => {
  test('one that finds no place is refused after a while, and a hung one is answered', async () => {
    const at = world({ inflightMax: 1 })
    at.ask('a', 'a0')
    at.ask('a', 'a1')
    at.clock.advance(10_000)
    expect(at.said).toEqual([['a1', 'queue_full']])
    at.clock.advance(21_000)
    expect(at.said).toEqual([
      ['a1', 'queue_full'],
      ['a0', 'upstream_error'],
    ])
    expect(at.running[0]?.signal.aborted).toBe(true)
    expect(at.clock.pending()).toBe(0)
  })

  test('a deadline ends it wherever it is', () => {
    const at = world({ inflightMax: 1 })
    at.ask('a', 'a0', { deadlineMs: 500 })
    at.ask('a', 'a1', { deadlineMs: 400 })
    at.clock.advance(500)
    expect(at.said).toEqual([
      ['a1', 'deadline_exceeded'],
      ['a0', 'deadline_exceeded'],
    ])
    expect(at.running[0]?.signal.aborted).toBe(true)
  })
})

test('a caller who goes takes its call back, and the next one starts', () => {
  const at = world({ inflightMax: 1 })
  at.ask('a', 'a0')
  at.ask('a', 'a1')
  at.ask('a', 'a2')
  expect(at.calls.cancel('b', 'a0')).toBeNull()
  expect(at.calls.cancel('a', 'a1')).toEqual({ cancelled: true, state: 'queued' })
  expect(at.calls.cancel('a', 'a0')).toEqual({ cancelled: true, state: 'running' })
  expect(at.running.map(({ signal }) => signal.aborted)).toEqual([true, false])
  expect(at.said).toEqual([
    ['a1', 'cancelled'],
    ['a0', 'cancelled'],
  ])
})

describe('at drain', () => {
  test('what was taken is answered, and nothing more is taken', async () => {
    const at = world({ inflightMax: 1 })
    at.ask('a', 'a0')
    at.ask('a', 'a1')
    let over = false
    const drained = at.calls.drain().then(() => (over = true))
    at.ask('a', 'a2')
    expect(at.said).toEqual([['a2', 'draining']])
    await at.end(0)
    expect(over).toBe(false)
    await at.end(1)
    await drained
    expect(at.said.map(([, how]) => how)).toEqual(['draining', 'answered', 'answered'])
  })

  test('a hurry ends what is left', async () => {
    const at = world({ inflightMax: 1 })
    at.ask('a', 'a0')
    at.ask('a', 'a1')
    const drained = at.calls.drain()
    at.calls.hurry()
    await drained
    expect(at.said).toEqual([
      ['a1', 'draining'],
      ['a0', 'draining'],
    ])
    expect(at.running).toHaveLength(1)
  })
})
