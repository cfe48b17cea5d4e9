/** Bodies on their way in: what they announce, and who waits for room. */
import { EventEmitter } from 'node:events'
import type { FastifyInstance } from 'fastify'
import { beforeEach, expect, test } from 'vitest'
import { uploads, type UploadLimits } from '../../services/gateway/uploads.ts'
import { manualClock, type ManualClock } from '../support/manual-clock.ts'

const BODY_MAX = 80

type Hook = (request: object, reply: object, ...rest: unknown[]) => void

let clock: ManualClock
let limits: UploadLimits
let hooks: Map<string, Hook>

beforeEach(() => {
  clock = manualClock()
  limits = { bytesMax: 100, queuedMax: 4, waitMs: 1_000 }
  hooks = new Map()
  const scope = { addHook: (name: string, hook: Hook) => void hooks.set(name, hook) }
  uploads(scope as unknown as FastifyInstance, {
    limits: () => limits,
    tenantOf: (request) => (request as unknown as { tenant: string }).tenant,
    tenantShare: () => 0.5,
    eachBytesMax: BODY_MAX,
    after: clock.after,
    refuse: (reply, { code }) => void Object.assign(reply, { refused: code }),
  })
})

/** One that announces so many bytes; null: it does not say how many. */
function upload(announced: number | null, tenant = 'acme') {
  const headers =
    announced === null
      ? { 'transfer-encoding': 'chunked' }
      : announced === 0
        ? {}
        : { 'content-length': String(announced) }
  const request = { headers, tenant }
  const reply = { raw: new EventEmitter(), refused: null as string | null }
  let read = false
  hooks.get('preParsing')?.(request, reply, null, () => (read = true))
  return {
    at: () => reply.refused ?? (read ? 'read' : 'waits'),
    arrived: () => hooks.get('preHandler')?.(request, reply, () => {}),
    gone: () => reply.raw.emit('close'),
  }
}

test('what fits is read at once, and gives its room back when it has come or its sender is gone', () => {
  const [one, two] = [upload(60, 'one'), upload(40, 'two')]
  const [three, four] = [upload(60, 'three'), upload(40, 'four')]
  const all = () => [one, two, three, four].map((each) => each.at())
  expect(all()).toEqual(['read', 'read', 'waits', 'waits'])
  one.arrived()
  one.gone()
  expect(all()).toEqual(['read', 'read', 'read', 'waits'])
  two.gone()
  expect(all()).toEqual(['read', 'read', 'read', 'read'])
  expect(clock.pending()).toBe(0)
})

test('a request without a body needs no room', () => {
  upload(BODY_MAX, 'one')
  upload(BODY_MAX, 'two')
  expect(upload(0).at()).toBe('read')
  expect(upload(0, 'two').at()).toBe('read')
})

test('who says nothing of its length counts as the largest, and none counts as more', () => {
  upload(null, 'one')
  expect(upload(21, 'two').at()).toBe('waits')
  const fits = upload(20, 'three')
  expect(fits.at()).toBe('waits')
  clock.advance(1_000)
  expect(fits.at()).toBe('read')
  expect(upload(1, 'four').at()).toBe('waits')
})

test('who waits too long is refused, and so is who finds the line full, or no line', () => {
  upload(80, 'one')
  const waits = upload(80, 'two')
  clock.advance(999)
  expect(waits.at()).toBe('waits')
  clock.advance(1)
  expect(waits.at()).toBe('queue_full')
  for (let i = 0; i < 4; i++) expect(upload(80, `t${i}`).at()).toBe('waits')
  expect(upload(80, 'late').at()).toBe('queue_full')
  limits.waitMs = 0
  clock.advance(1_000)
  expect(upload(80, 'two').at()).toBe('queue_full')
})

test('a tenant has a share of room and line, and is overtaken while it waits for its own', () => {
  expect(upload(40, 'greedy').at()).toBe('read')
  const own = [20, 20, 20].map((bytes) => upload(bytes, 'greedy'))
  expect(own.map((one) => one.at())).toEqual(['waits', 'waits', 'queue_full'])
  expect(upload(50, 'other').at()).toBe('read')
})

test('a body larger than all the room there is is read when nothing else is being received', () => {
  limits.bytesMax = 50
  const large = upload(60, 'one')
  const next = upload(60, 'two')
  expect([large.at(), next.at()]).toEqual(['read', 'waits'])
  large.arrived()
  expect(next.at()).toBe('read')
})
