/** I changed my mind, and do not want to pay for the rest. */
import { HeadgateClient, isHeadgateError } from '#client'

const headgate = new HeadgateClient({ tenant: 'acme', servers: process.env['NATS_URL'] })

const id = `essay-${process.pid}`
const essay = headgate.request(
  {
    model: 'claude-haiku-4-5',
    max_tokens: 4_000,
    messages: [{ role: 'user', content: 'A very long essay about rivers, please.' }],
  },
  { id, lane: 'batch' },
)
const ending = essay.then(
  () => 'completed',
  (error: unknown) => (isHeadgateError(error) ? error.code : 'a bug'),
)

await new Promise((resolve) => setTimeout(resolve, 300))
console.log('before:', (await headgate.status(id)).state)
// Anybody of the tenant may cancel by id, from any process; an AbortSignal does it for one's own call.
console.log('asked to cancel:', await headgate.cancel(id))
const code = await ending
console.log('the call ended:', code)
console.log('after:', (await headgate.status(id)).state)

await headgate.close()
process.exitCode = code === 'cancelled' ? 0 : 1
