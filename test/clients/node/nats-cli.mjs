/** The `nats` command; its path comes last. */
import { asked, run, WEATHER } from './cell.mjs'
import { command, CommandSaysNo } from './command.mjs'

const tools = [{ name: 'weather', input_schema: { type: 'object' } }]

/** Its lines: with `--raw` a line for each message that comes. */
function request(body, ...more) {
  const deadline = asked.headers['headgate-deadline-ms']
  const headers = deadline === undefined ? [] : ['--header', `Headgate-Deadline-Ms:${deadline}`]
  const call = { model: asked.model, max_tokens: 1_000, ...body }
  call.messages = [{ role: 'user', content: asked.prompt }, ...(body.messages ?? [])]
  return command(asked.more[0], [
    ...['--server', asked.baseURL, '--timeout', '10m', 'request', '--raw', ...headers, ...more],
    ...['llm.v1.request.acme.interactive', JSON.stringify(call)],
  ])
}

async function contentOf(body) {
  const running = request(body)
  const lines = await Array.fromAsync(running.lines())
  const { status, complaint } = await running.left
  if (status !== 0) throw new CommandSaysNo(status, complaint)
  const answer = JSON.parse(lines.join(''))
  if (answer.type === 'error') throw new CommandSaysNo(0, JSON.stringify(answer))
  return answer.content
}

const textOf = (content) => content.map(({ text }) => text ?? '').join('')

async function streamed(piece, leaves = false) {
  const running = request({ stream: true }, '--wait-for-empty')
  for await (const line of running.lines()) {
    // Of the empty message at the end it says that it is one.
    const event = line.startsWith('{') ? JSON.parse(line) : {}
    if (event.delta?.text === undefined) continue
    piece(event.delta.text)
    if (leaves) break
  }
  if (leaves) running.interrupt()
  const { status, complaint } = await running.left
  if (status !== 0 && !leaves) throw new CommandSaysNo(status, complaint)
}

await run({
  plain: async () => textOf(await contentOf({})),
  streamed: (piece) => streamed(piece),
  async tools() {
    const content = await contentOf({ tools })
    const { id } = content.at(-1)
    const result = { type: 'tool_result', tool_use_id: id, content: WEATHER }
    const messages = [
      { role: 'assistant', content },
      { role: 'user', content: [result] },
    ]
    return textOf(await contentOf({ tools, messages }))
  },
  abort: (piece) => streamed(piece, true),
})
