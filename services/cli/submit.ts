/** `headgate submit`: durable jobs, one or a file of them. */
import { Command } from 'commander'
import { HeadgateError, type Headgate, type SubmitOptions } from '#client'
import { after, now } from '#platform/system'
import { readCall, type BodyFlags } from './call-body.ts'
import { deadlineMs, notBeforeMs } from './call-times.ts'
import { dialOptions, withHeadgate, type DialFlags } from './dialing.ts'
import { idsName, jobLines, NAME_CHARS_MAX } from './job-lines.ts'
import { tellError } from './said-answer.ts'
import { onStop } from './signals.ts'
import { submitLines, type Submitted } from './submit-lines.ts'
import { CALL, json, Misuse, MODEL, positiveWhole, say, tell, token } from './terminal.ts'

interface SubmitFlags extends DialFlags, Omit<BodyFlags, 'stream'> {
  tenant: string
  lane: string
  id?: string
  file?: string
  atOnce?: number
  deadline?: number
  notBefore?: number
  json?: true
}

const AT_ONCE = 64

export const submit = (): Command =>
  dialOptions(new Command('submit'))
    .summary('hand over durable jobs')
    .description(
      'Stores one job, or each line of a file as one, and prints the receipt: from then on it survives crashes of ' +
        'Headgate and of the NATS server. headgate result prints its answer. The same id with the same body again ' +
        'is a duplicate and stored once: a file whose run was ended goes on when the same is run again. A line that ' +
        'nobody takes is tried again for five minutes.',
    )
    .argument('[body]', "the call's JSON, or @FILE, or - for standard input")
    .option('--message <text>', 'what to say, instead of a body')
    .option(
      '--file <file>',
      'jobs, one JSON object a line: a body, or {"custom_id", "params"}; - for standard input',
    )
    .option('--at-once <n>', `of a file: jobs under way (default: ${AT_ONCE})`, positiveWhole)
    .option('--tenant <tenant>', 'who is served', token, 'default')
    .option('--lane <lane>', 'premium, interactive, batch or one of your own', token, 'batch')
    .option(
      '--id <id>',
      "of the job, made if absent; of a file what its lines' ids begin with (default: its name)",
      token,
    )
    .option('--model <model>', `of one job (default: the body's, else ${MODEL})`)
    .option('--max-tokens <n>', `of one job (default: the body's, else 1024)`, positiveWhole)
    .option('--deadline <ms>', "most milliseconds until its end (default: the lane's)", deadlineMs)
    .option('--not-before <ms>', 'milliseconds in which it does not start', notBeforeMs)
    .option('--json', 'print receipts as they came; of a file one a line')
    .action(async (body: string | undefined, flags: SubmitFlags) => {
      const options = optionsOf(flags)
      const run = flags.file === undefined ? one(body, flags, options) : many(body, flags, options)
      process.exitCode = await withHeadgate(flags, run)
    })

const optionsOf = ({ lane, deadline, notBefore }: SubmitFlags): SubmitOptions => ({
  lane,
  deadlineMs: deadline,
  notBeforeMs: notBefore,
})

type Run = (headgate: Headgate) => Promise<number>

function one(body: string | undefined, flags: SubmitFlags, options: SubmitOptions): Run {
  if (flags.atOnce !== undefined) throw new Misuse('--at-once: needs --file')
  const call = JSON.stringify(readCall('submit', body, flags))
  return async (headgate) => {
    try {
      const receipt = await headgate.submit(call, { ...options, id: flags.id })
      if (flags.json === true) json(receipt)
      else {
        say(`${receipt.duplicate ? 'it is there already' : 'stored'}: ${receipt.id}`)
        say(`  ${CALL} result ${receipt.id} --tenant ${flags.tenant} --wait`)
      }
      return 0
    } catch (error) {
      if (!(error instanceof HeadgateError)) throw error
      tellError(error, flags)
      return 1
    }
  }
}

function many(body: string | undefined, flags: SubmitFlags, options: SubmitOptions): Run {
  const { file = '', id, message, model, maxTokens, atOnce = AT_ONCE } = flags
  const alone = { body, '--message': message, '--model': model, '--max-tokens': maxTokens }
  const [beside] = Object.entries(alone).filter(([, value]) => value !== undefined)
  if (beside !== undefined)
    throw new Misuse(`--file: its lines say all of a job; leave out ${beside[0]}`)
  const name = idsName(file, id)
  if (name.length > NAME_CHARS_MAX)
    throw new Misuse(`--id: with --file at most ${NAME_CHARS_MAX} characters, before a line number`)
  return async (headgate) => {
    const counts: Submitted = { accepted: 0, duplicates: 0, failed: 0, waiting: 0 }
    const leaving = new AbortController()
    const deaf = onStop(() => leaving.abort())
    const progress = shown(counts)
    try {
      await submitLines(
        {
          lines: jobLines(file, name),
          ...{ headgate, options, atOnce, now, signal: leaving.signal },
          sleep: (ms) => sleepUntil(ms, leaving.signal),
          stored: (receipt) => flags.json === true && say(JSON.stringify(receipt)),
          failed: ({ line, problem }) => progress.tell(`${file}:${line}: ${problem}`),
          again: (error) => progress.trouble(error),
        },
        counts,
      )
    } finally {
      progress.end()
      deaf()
    }
    const { accepted, duplicates, failed } = counts
    const ended = leaving.signal.aborted
    tell(`${accepted} stored, ${duplicates} there already, ${failed} not stored`)
    if (ended || failed > 0)
      tell(`run the same again to go on, with its bad lines mended: what is stored is stored once`)
    return ended || failed > 0 ? 1 : 0
  }
}

function sleepUntil(ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve()
  return new Promise((resolve) => {
    const end = (): void => {
      cancel()
      signal.removeEventListener('abort', end)
      resolve()
    }
    const cancel = after(ms, end)
    signal.addEventListener('abort', end)
  })
}

const SHOW_EVERY_MS = 250

/** How far it is, in one line of a terminal; elsewhere only what is wrong is told. */
function shown(counts: Submitted) {
  const live = process.stderr.isTTY
  const clear = (): void => void (live && process.stderr.write('\r\u001b[2K'))
  let trouble = ''
  let cancel = (): void => {}
  const draw = (): void => {
    const { accepted, duplicates, failed, waiting } = counts
    const held = waiting === 0 ? '' : `, ${waiting} tried again (${trouble})`
    clear()
    process.stderr.write(`${accepted} stored, ${duplicates} there already, ${failed} not${held}`)
    cancel = after(SHOW_EVERY_MS, draw)
  }
  if (live) draw()
  return {
    tell(line: string) {
      clear()
      tell(line)
    },
    /** Told once, where it is another one than before. */
    trouble({ code, message }: HeadgateError) {
      if (code !== trouble && !live) tell(`tried again: ${code}: ${message}`)
      trouble = code
    },
    end() {
      cancel()
      clear()
    },
  }
}
