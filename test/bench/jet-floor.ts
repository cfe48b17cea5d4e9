/** The floor of durable jobs: a JetStream consumer that acknowledges, and nothing else; or that makes one pooled POST
 *  of each message and stores the answer before it acknowledges. */
import { jetstream } from '@nats-io/jetstream'
import { connect } from '@nats-io/transport-node'
import { Pool } from 'undici'

export type FloorWork = 'ack' | 'call'
interface Asked {
  stream: string
  count: number
  work: FloorWork
}

const [natsUrl, upstream] = process.argv.slice(2)
/** Messages that are under way at once, as many as the scheduler has slots. */
const AT_ONCE = 128
const nc = await connect({ servers: natsUrl!, noAsyncTraces: true })
const js = jetstream(nc)
const pool = new Pool(upstream!, { connections: 256, headersTimeout: 0, bodyTimeout: 0 })
const headers = { 'content-type': 'application/json', authorization: 'Bearer sk-bench' }

process.on('message', (asked: Asked) => void consume(asked))
process.on('disconnect', () => process.exit(0))
process.send?.({ type: 'ready' })

async function consume({ stream, count, work }: Asked): Promise<void> {
  const consumer = await js.consumers.get(stream, 'floor')
  const messages = await consumer.consume({ max_messages: AT_ONCE })
  let done = 0
  const ended = (): void => {
    if (++done === count) messages.stop()
  }
  for await (const message of messages) {
    if (work === 'ack') {
      message.ack()
      ended()
    } else {
      const { body } = await pool.request({
        ...{ path: '/v1/messages', method: 'POST', headers, body: message.data },
      })
      void body
        .arrayBuffer()
        .then((answer) => js.publish(`floor.done.${message.seq}`, new Uint8Array(answer)))
        .then(() => {
          message.ack()
          ended()
        })
    }
  }
  await nc.flush()
  process.send?.({ type: 'done' })
}
