/** I want to see what becomes of my requests, without asking.
 *
 *  Events are CloudEvents on NATS subjects; they never hold a prompt or an answer. */
import { HeadgateClient } from '#client'

const headgate = new HeadgateClient({ tenant: 'acme', servers: process.env['NATS_URL'] })

const settled = Promise.withResolvers<void>()
const stopListening = headgate.events(({ type, time, subject, data }) => {
  console.log(time, type.replace('dev.headgate.', ''), subject, JSON.stringify(data))
  if (type.endsWith('.settled')) settled.resolve()
})

await headgate.request({
  model: 'claude-haiku-4-5',
  max_tokens: 20,
  messages: [{ role: 'user', content: 'Hello!' }],
})

await settled.promise
stopListening()
await headgate.close()
