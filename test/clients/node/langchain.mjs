/** LangChain for JavaScript. */
import { ChatAnthropic } from '@langchain/anthropic'
import { HumanMessage, ToolMessage } from '@langchain/core/messages'
import { tool } from '@langchain/core/tools'
import { z } from 'zod'
import { asked, run, WEATHER } from './cell.mjs'

const claude = new ChatAnthropic({
  model: asked.model,
  maxTokens: 1_000,
  apiKey: 'any',
  anthropicApiUrl: asked.baseURL,
  clientOptions: { defaultHeaders: asked.headers },
  ...(asked.retries === undefined ? {} : { maxRetries: asked.retries }),
})

await run({
  plain: async () => (await claude.invoke(asked.prompt)).text,
  async streamed(piece) {
    for await (const { text } of await claude.stream(asked.prompt)) if (text !== '') piece(text)
  },
  async tools() {
    const weather = tool(async ({ place }) => `${place}: ${WEATHER}`, {
      name: 'weather',
      description: 'The weather at a place',
      schema: z.object({ place: z.string() }),
    })
    const withTools = claude.bindTools([weather])
    const question = new HumanMessage(asked.prompt)
    const answer = await withTools.invoke([question])
    const used = await Promise.all(answer.tool_calls.map((call) => weather.invoke(call)))
    if (!used.every((one) => one instanceof ToolMessage)) throw new Error('no tool was used')
    return (await withTools.invoke([question, answer, ...used])).text
  },
  async abort(piece) {
    const leaving = new AbortController()
    const stream = await claude.stream(asked.prompt, { signal: leaving.signal })
    for await (const { text } of stream)
      if (text !== '') {
        piece(text)
        leaving.abort()
        break
      }
  },
})
