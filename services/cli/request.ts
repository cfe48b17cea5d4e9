/** `headgate request`: one call, by hand. The answer goes to stdout, its accounting to stderr. */
import { Command } from 'commander'
import { HeadgateError, type AnswerAccounting, type CallOptions, type Headgate } from '#client'
import { readCall, type BodyFlags, type CallBody } from './call-body.ts'
import { deadlineMs } from './call-times.ts'
import { dialOptions, withHeadgate, type DialFlags } from './dialing.ts'
import { sayAnswer, tellAccounting, tellError } from './said-answer.ts'
import { onStop } from './signals.ts'
import { Failure, MODEL, positiveWhole, say, token } from './terminal.ts'

interface RequestFlags extends DialFlags, BodyFlags {
  tenant: string
  lane: string
  id?: string
  deadline?: number
  json?: true
}

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
    .option('--deadline <ms>', 'most milliseconds that it may take, queue included', deadlineMs)
    .option('--json', "print the upstream's JSON as it is; of a stream one event per line")
    .action(async (body: string | undefined, flags: RequestFlags) => {
      const call = readCall('request', body, flags)
      process.exitCode = await withHeadgate(flags, (headgate) => run(headgate, call, flags))
    })

async function run(headgate: Headgate, call: CallBody, flags: RequestFlags): Promise<number> {
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
    tellAccounting(accounting)
    return 0
  } catch (error) {
    if (!(error instanceof HeadgateError)) throw error
    tellError(error, flags)
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
  sayAnswer(answer, flags)
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
