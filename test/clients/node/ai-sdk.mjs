/** Vercel's AI SDK. */
import { createAnthropic } from '@ai-sdk/anthropic'
import { generateText, isStepCount, streamText, tool } from 'ai'
import { z } from 'zod'
import { asked, run, WEATHER } from './cell.mjs'

const anthropic = createAnthropic({
  baseURL: `${asked.baseURL}/v1`,
  apiKey: 'any',
  headers: asked.headers,
})
const call = {
  model: anthropic(asked.model),
  prompt: asked.prompt,
  maxOutputTokens: 1_000,
  ...(asked.retries === undefined ? {} : { maxRetries: asked.retries }),
}

await run({
  plain: async () => (await generateText(call)).text,
  async streamed(piece) {
    for await (const text of streamText(call).textStream) piece(text)
  },
  async tools() {
    const weather = tool({
      description: 'The weather at a place',
      inputSchema: z.object({ place: z.string() }),
      execute: async ({ place }) => `${place}: ${WEATHER}`,
    })
    return (await generateText({ ...call, tools: { weather }, stopWhen: isStepCount(3) })).text
  },
  async abort(piece) {
    const leaving = new AbortController()
    for await (const text of streamText({ ...call, abortSignal: leaving.signal }).textStream) {
      piece(text)
      leaving.abort()
    }
  },
})
