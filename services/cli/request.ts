/** `headgate request`: one call, by hand. The answer goes to stdout, its accounting to stderr. */
import { readFileSync } from 'node:fs'
import { Command } from 'commander'
import { HeadgateError, type AnswerAccounting, type CallOptions, type Headgate } from '#client'
import { dialOptions, withHeadgate, type DialFlags } from './dialing.ts'
import { onStop } from './signals.ts'
import {
  Failure,
  json,
  messageOf,
  Misuse,
  MODEL,
  positiveWhole,
  say,
  tell,
  token,
} from './terminal.ts'

interface RequestFlags extends DialFlags {
  tenant: string
  lane: string
  id?: string
  model?: string
  maxTokens?: number
  message?: string
  stream?: true
  deadline?: number
  json?: true
}

const MAX_TOKENS = 1_024

export const request = (): Command =>
  dialOptions(new Command('request'))
    .summary('make one call and print its answer')
    .description(
      "Sends one Messages call through Headgate. The answer's text goes to stdout, what it " +
        'took to stderr. Ctrl-C cancels it wherever it is.',
    )
    .argument('[body]', "the call's JSON, or @FILE, or - for standard input")
    .option('--message <text>', 'what to say, instead of a body')
    .option('--tenant <tenant>', 'who is served', token, 'default')
    .option('--lane <lane>', 'premium, interactive, batch or one of your own', token, 'interactive')
    .option('--id <id>', 'for cancel and status; made if absent', token)
    .option('--model <model>', `the model (default: the body's, else ${MODEL})`)
    .option('--max-tokens <n>', `longest answer (default: the body's, else 1024)`, positiveWhole)
    .option('--stream', 'print the answer as it comes')
    .option('--deadline <ms>', 'most milliseconds that it may take, queue included', positiveWhole)
    .option('--json', "print the upstream's JSON as it is; of a stream one event per line")
    .action(async (body: string | undefined, flags: RequestFlags) => {
      const call = readCall(body, flags)
      process.exitCode = await withHeadgate(flags, (headgate) => run(headgate, call, flags))
    })

type Call = Record<string, unknown>

async function run(headgate: Headgate, call: Call, flags: RequestFlags): Promise<number> {
  const leaving = new AbortController()
  const deaf = onStop(() => leaving.abort(new Failure('cancelled')))
  const options: CallOptions = {
    lane: flags.lane,
    id: flags.id,
    deadlineMs: flags.deadline,
    signal: leaving.signal,
  }
  const raw = JSON.stringify(call)
  try {
    const accounting =
      call['stream'] === true
        ? await streamed(headgate, raw, options, flags)
        : await whole(headgate, raw, options, flags)
    tell(sayAccounting(accounting))
    return 0
  } catch (error) {
    if (!(error instanceof HeadgateError)) throw error
    if (flags.json === true && error.body !== null) json(error.body)
    const again = error.retryable ? `; the same may work in ${error.retryAfterMs ?? 0} ms` : ''
    tell(`headgate: ${error.code}: ${error.message}${again}`)
    if (error.accounting !== null) tell(sayAccounting(error.accounting))
    return 1
  } finally {
    deaf()
  }
}

async function whole(
  headgate: Headgate,
  raw: string,
  options: CallOptions,
  flags: RequestFlags,
): Promise<AnswerAccounting> {
  const answer = await headgate.request(raw, options)
  if (flags.json === true) say(new TextDecoder().decode(answer.bytes))
  else say(answer.body.content.map((block) => (block.type === 'text' ? block.text : '')).join(''))
  return answer.accounting
}

async function streamed(
  headgate: Headgate,
  raw: string,
  options: CallOptions,
  flags: RequestFlags,
): Promise<AnswerAccounting> {
  const stream = headgate.stream(raw, options)
  if (flags.json === true) {
    for await (const event of stream.chunks()) say(new TextDecoder().decode(event))
    return stream.final
  }
  for await (const event of stream) {
    if (event.type === 'content_block_delta' && event.delta.type === 'text_delta')
      process.stdout.write(event.delta.text)
  }
  say('')
  return stream.final
}

/** The body as given, with what the flags say instead. */
function readCall(body: string | undefined, flags: RequestFlags): Call {
  if ((body === undefined) === (flags.message === undefined))
    throw new Misuse('request: say either a body (JSON, @FILE or -) or --message TEXT')
  const given =
    body === undefined ? { messages: [{ role: 'user', content: flags.message }] } : parse(body)
  return {
    ...given,
    model: flags.model ?? given['model'] ?? MODEL,
    max_tokens: flags.maxTokens ?? given['max_tokens'] ?? MAX_TOKENS,
    ...(flags.stream === true ? { stream: true } : {}),
  }
}

function parse(body: string): Call {
  let read: unknown
  try {
    read = JSON.parse(textOf(body))
  } catch (error) {
    throw new Misuse(`body: expected the JSON of a Messages call: ${messageOf(error)}`)
  }
  if (typeof read === 'object' && read !== null && !Array.isArray(read)) return { ...read }
  throw new Misuse('body: expected a JSON object, the body of a Messages call')
}

function textOf(body: string): string {
  if (body === '-') return readFileSync(0, 'utf8')
  return body.startsWith('@') ? readFileSync(body.slice(1), 'utf8') : body
}

function sayAccounting(of: AnswerAccounting): string {
  const tokens =
    of.inputTokens === null ? '' : `, ${of.inputTokens} + ${of.outputTokens ?? 0} tokens`
  const times = `${of.queueMs} ms queued, ${of.upstreamMs} ms upstream, ${of.totalMs} ms in all`
  const attempts = `${of.attempts} attempt${of.attempts === 1 ? '' : 's'}`
  const yielded = of.preemptions === 0 ? '' : `, yielded ${of.preemptions} times`
  return `[${of.id} ${of.outcome ?? ''}: ${times}, ${attempts}${yielded}${tokens}]`
}
