/** I use the Anthropic SDK already, and change one line. */
import Anthropic from '@anthropic-ai/sdk'

const client = new Anthropic({
  baseURL: process.env['HEADGATE_GATEWAY_URL'] ?? 'http://127.0.0.1:8781',
  // Yours of the tenants' keys; where none is configured, anything.
  apiKey: process.env['HEADGATE_KEY'] ?? 'any',
})

const stream = client.messages.stream(
  {
    model: 'claude-haiku-4-5',
    max_tokens: 60,
    messages: [{ role: 'user', content: 'What does a headgate do?' }],
  },
  { headers: { 'headgate-lane': 'premium', 'headgate-deadline-ms': '30000' } },
)
for await (const event of stream)
  if (event.type === 'content_block_delta' && event.delta.type === 'text_delta')
    process.stdout.write(event.delta.text)

const { stop_reason, usage } = await stream.finalMessage()
console.log(`\n\n${stop_reason} after ${usage.output_tokens} tokens, as ${stream.request_id}`)
