/** The floor: a NATS responder that does one pooled POST per request and nothing else. Streams are relayed
 *  event by event. What Headgate costs is measured against this. */
import { connect } from '@nats-io/transport-node'
import { Pool } from 'undici'

const [natsUrl, upstream] = process.argv.slice(2)
const nc = await connect({ servers: natsUrl! })
const pool = new Pool(upstream!, { connections: 256, headersTimeout: 0, bodyTimeout: 0 })
const headers = {
  'content-type': 'application/json',
  'anthropic-version': '2023-06-01',
  authorization: 'Bearer sk-bench',
}

nc.subscribe('floor.request.*.*', {
  queue: 'floor',
  callback: (_error, message) => void answer(message.data, message.reply!),
})
await nc.flush()
process.send?.({ type: 'ready' })
process.on('disconnect', () => process.exit(0))

async function answer(data: Uint8Array, to: string): Promise<void> {
  const response = await pool.request({ path: '/v1/messages', method: 'POST', headers, body: data })
  if (response.headers['content-type'] === 'application/json') {
    nc.publish(to, new Uint8Array(await response.body.arrayBuffer()))
    return
  }
  let held = ''
  for await (const chunk of response.body) {
    held += (chunk as Buffer).toString('latin1')
    let end = held.indexOf('\n\n')
    for (; end >= 0; end = held.indexOf('\n\n')) {
      const at = held.indexOf('data: ')
      if (at >= 0 && at < end) nc.publish(to, Buffer.from(held.slice(at + 6, end), 'latin1'))
      held = held.slice(end + 2)
    }
  }
  nc.publish(to, '')
}
