/** @anthropic-ai/sdk; the package's name, oldest or newest, comes last. */
import { asked, run, WEATHER } from './cell.mjs'

const { Anthropic } = await import(asked.more[0])
const client = new Anthropic({
  baseURL: asked.baseURL,
  apiKey: 'any',
  defaultHeaders: asked.headers,
  logLevel: 'off',
  ...(asked.retries === undefined ? {} : { maxRetries: asked.retries }),
})
const params = {
  model: asked.model,
  max_tokens: 1_000,
  messages: [{ role: 'user', content: asked.prompt }],
}
const textOf = ({ content }) => content.map(({ text }) => text ?? '').join('')

await run({
  plain: async () => textOf(await client.messages.create(params)),
  async streamed(piece) {
    const stream = client.messages.stream(params).on('text', piece)
    return textOf(await stream.finalMessage())
  },
  async tools() {
    const weather = {
      name: 'weather',
      description: 'The weather at a place',
      input_schema: { type: 'object', properties: { place: { type: 'string' } } },
      type: 'custom',
      parse: (input) => input,
      run: ({ place }) => `${place}: ${WEATHER}`,
    }
    return textOf(await client.beta.messages.toolRunner({ ...params, tools: [weather] }))
  },
  async abort(piece) {
    for await (const event of await client.messages.create({ ...params, stream: true }))
      if (event.type === 'content_block_delta') {
        piece(event.delta.text)
        break
      }
  },
})
