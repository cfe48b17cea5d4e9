/** I want to read the answer while it is being written. */
import { HeadgateClient } from '#client'

const headgate = new HeadgateClient({ tenant: 'acme', servers: process.env['NATS_URL'] })

const stream = headgate.stream({
  model: 'claude-haiku-4-5',
  max_tokens: 60,
  messages: [{ role: 'user', content: 'Tell me about rivers and canals.' }],
})

// The upstream's own events, each as it comes.
for await (const event of stream)
  if (event.type === 'content_block_delta' && event.delta.type === 'text_delta')
    process.stdout.write(event.delta.text)

const accounting = await stream.final
console.log(`\n\n${accounting.events} events, ${accounting.outputTokens} tokens`)

await headgate.close()
