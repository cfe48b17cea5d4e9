/** I have one question and want one answer.
 *
 *    npm start                                 (one terminal)
 *    node examples/01-first-request.ts         (another)
 *
 *  In a program of your own the import is `headgate/client`. */
import { HeadgateClient } from '#client'

const headgate = new HeadgateClient({ tenant: 'acme', servers: process.env['NATS_URL'] })

const { body, accounting } = await headgate.request(
  {
    model: 'claude-haiku-4-5',
    max_tokens: 60,
    messages: [{ role: 'user', content: 'What does a headgate do?' }],
  },
  { lane: 'interactive', deadlineMs: 30_000 },
)

for (const block of body.content) if (block.type === 'text') console.log(block.text)
console.log(
  `\n${accounting.outcome} after ${accounting.queueMs} ms in the queue and ${accounting.upstreamMs} ms upstream`,
)

await headgate.close()
