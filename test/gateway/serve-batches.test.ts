/** How many batches are received at once. */
import type { FastifyInstance, FastifyReply } from 'fastify'
import { beforeEach, expect, test } from 'vitest'
import { HeadgateError, type Headgate } from '#client'
import { serveBatches, type BatchesDoor } from '../../services/gateway/serve-batches.ts'

type Handler = (request: object, reply: object) => Promise<unknown>

let post: Handler
let share: number
/** Ends the batches that are being received, in order. */
let ends: (() => void)[]

beforeEach(() => {
  share = 1
  ends = []
  const handlers = new Map<string, Handler>()
  const route = (path: string, handler: Handler) => void handlers.set(path, handler)
  const scope = { addContentTypeParser() {}, get() {}, delete() {}, post: route }
  const client = {
    batch: () =>
      new Promise((_, reject) => {
        ends.push(() => reject(new HeadgateError({ code: 'no_answer', message: 'm' })))
      }),
  }
  serveBatches(scope as unknown as FastifyInstance, {
    clientOf: () => client as unknown as Headgate,
    tenantOf: (request) => (request as unknown as { tenant: string }).tenant,
    lanesOf: () => null,
    settings: () =>
      ({ batch_bytes: 1_000, batches_receiving_max: 4 }) as ReturnType<BatchesDoor['settings']>,
    tenantShare: () => share,
    secure: false,
    newId: () => 'r_1',
    send: (reply, { status, body }) =>
      Object.assign(reply, { answered: `${status} ${String(body)}` }) as FastifyReply,
  })
  post = handlers.get('/v1/messages/batches') ?? (async () => {})
})

const settle = () => new Promise((resolve) => setImmediate(resolve))

/** A batch of that tenant: what becomes of it. */
async function batch(tenant: string): Promise<{ at: () => string }> {
  const reply = { raw: { destroyed: false }, answered: '' }
  void post({ tenant, headers: {} }, reply)
  await settle()
  const at = () => {
    if (reply.answered === '') return 'received'
    return /"code":"(\w+)"/.exec(reply.answered)?.[1] ?? reply.answered
  }
  return { at }
}

test('no more batches are received at once than may be, whoever sends them', async () => {
  for (const tenant of ['a', 'b', 'c', 'd']) expect((await batch(tenant)).at()).toBe('received')
  expect((await batch('e')).at()).toBe('queue_full')
  ends[0]?.()
  await settle()
  expect((await batch('e')).at()).toBe('received')
  expect((await batch('f')).at()).toBe('queue_full')
})

test('one tenant has its share of them, and what has ended gives its place back', async () => {
  share = 0.5
  for (let i = 0; i < 2; i++) expect((await batch('greedy')).at()).toBe('received')
  expect((await batch('greedy')).at()).toBe('queue_full')
  expect((await batch('modest')).at()).toBe('received')
  ends[0]?.()
  await settle()
  expect((await batch('greedy')).at()).toBe('received')
  expect((await batch('greedy')).at()).toBe('queue_full')
})
