/** I have a backend driven by events: each order that comes in needs one answer, and a crash may lose none.
 *
 *  An order is acknowledged when its answer is kept, and not before. Whoever dies in between has it delivered
 *  again: the same order is the same job (its id), so Headgate stores it once, and the answer is kept under the
 *  order's id, once. Here a worker is killed in the middle, and another goes on. */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { jetstream, jetstreamManager, type JsMsg } from '@nats-io/jetstream'
import { Kvm } from '@nats-io/kv'
import { connect } from '@nats-io/transport-node'
import { HeadgateClient } from '#client'

const servers = process.env['NATS_URL'] ?? 'nats://127.0.0.1:4222'
const nc = await connect({ servers })
const answers = await new Kvm(nc).create('answers')
const ACK_WAIT_MS = 1_000
if (process.argv[2] === 'worker') await work()
else await demonstrate()

// ---- what you would copy ----

async function work(): Promise<void> {
  const headgate = new HeadgateClient({ tenant: 'shop', servers })
  const orders = await jetstream(nc).consumers.get('ORDERS', 'worker')
  // As many at once as the consumer's max_ack_pending lets it have.
  for await (const order of await orders.consume())
    answer(headgate, order).catch((error: unknown) => {
      console.error(error)
      order.nak(1_000)
    })
}

async function answer(headgate: HeadgateClient, order: JsMsg): Promise<void> {
  const { id, wish } = order.json<{ id: string; wish: string }>()
  // The answer may take longer than NATS waits for an acknowledgement.
  const alive = setInterval(() => order.working(), ACK_WAIT_MS / 2)
  try {
    const messages = [{ role: 'user' as const, content: wish }]
    const call = { model: 'claude-haiku-4-5', max_tokens: 20, messages }
    const receipt = await headgate.submit(call, { id, lane: 'batch' })
    const { body } = await headgate.jobs.wait(receipt)
    // Kept once; whoever comes second finds it there.
    if ((await answers.get(id)) === null) await answers.create(id, JSON.stringify(body.content))
    order.ack()
    console.log(receipt.duplicate ? `${id}: answered, was delivered again` : `${id}: answered`)
  } finally {
    clearInterval(alive)
  }
}

// ---- twelve orders, and a crash ----

async function demonstrate(): Promise<void> {
  const jsm = await jetstreamManager(nc)
  await jsm.streams.add({ name: 'ORDERS', subjects: ['orders.*'] })
  const consumer = { durable_name: 'worker', ack_policy: 'explicit', max_ack_pending: 6 } as const
  await jsm.consumers.add('ORDERS', { ...consumer, ack_wait: ACK_WAIT_MS * 1_000_000 })
  const ids = Array.from({ length: 12 }, (_, n) => `order-${Date.now().toString(36)}-${n}`)
  for (const id of ids)
    await jetstream(nc).publish('orders.new', JSON.stringify({ id, wish: `A word for ${id}.` }))
  const open = async (): Promise<number> => {
    const { num_pending, num_ack_pending } = await jsm.consumers.info('ORDERS', 'worker')
    return num_pending + num_ack_pending
  }
  const until = async (most: number): Promise<void> => {
    while ((await open()) > most) await new Promise((resolve) => setTimeout(resolve, 100))
  }

  const first = fork(new URL(import.meta.url), ['worker'])
  await until(8)
  first.kill('SIGKILL')
  await once(first, 'exit')
  console.log(`killed, with ${await open()} orders open`)
  const second = fork(new URL(import.meta.url), ['worker'])
  await until(0)
  second.kill()
  const kept = await Promise.all(ids.map((id) => answers.get(id)))
  const done = kept.filter((entry) => entry !== null).length
  console.log(`${done} of ${ids.length} orders have their answer`)
  await jsm.streams.delete('ORDERS')
  await answers.destroy()
  await nc.close()
  process.exitCode = done === ids.length ? 0 : 1
}
