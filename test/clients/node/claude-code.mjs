/** Claude Code, as a script calls it (`claude -p`), in a folder and a home of its own. */
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { asked, run } from './cell.mjs'
import { command, CommandSaysNo } from './command.mjs'

/** What its install script would put on the PATH. */
const { platform, arch } = process
const packed = `@anthropic-ai/claude-code-${platform}-${arch}/package.json`
const claudePath = join(dirname(createRequire(import.meta.url).resolve(packed)), 'claude')

/** Its events, one after the other. */
function claude(args) {
  const headers = Object.entries(asked.headers).map(([name, value]) => `${name}: ${value}`)
  const env = {
    ANTHROPIC_BASE_URL: asked.baseURL,
    ANTHROPIC_AUTH_TOKEN: 'any',
    ANTHROPIC_CUSTOM_HEADERS: headers.join('\n'),
    CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: '1',
    ...(asked.retries === undefined ? {} : { CLAUDE_CODE_MAX_RETRIES: String(asked.retries) }),
  }
  const model = ['--model', asked.model, '--no-session-persistence', '--verbose']
  const out = ['--output-format', 'stream-json', '--include-partial-messages']
  const all = ['-p', asked.prompt, ...model, ...out, ...args]
  return command(claudePath, all, { env, cwd: process.env.HOME })
}

async function read(args, piece = () => {}) {
  const running = claude(args)
  let end = null
  for await (const line of running.lines()) {
    const event = JSON.parse(line)
    if (event.type === 'result') end = event
    if (event.event?.delta?.type === 'text_delta') piece(event.event.delta.text)
  }
  const { status, complaint } = await running.left
  if (status !== 0) throw new CommandSaysNo(status, end?.result ?? complaint)
  return end.result
}

await run({
  plain: () => read(['--tools', '']),
  streamed: (piece) => read(['--tools', ''], piece),
  tools: () => read(['--tools', 'Bash', '--allowedTools', 'Bash']),
  async abort(piece) {
    const running = claude(['--tools', ''])
    for await (const line of running.lines()) {
      const { event } = JSON.parse(line)
      if (event?.delta?.type !== 'text_delta') continue
      piece(event.delta.text)
      running.interrupt()
      break
    }
    await running.left
  },
})
