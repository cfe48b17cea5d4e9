/** `headgate record`: what every tenant asked for and how it ended, as a file that `headgate simulate
 *  --trace` reads. It listens to the event feed; no text, prompt or key is in an event, nor in the file. */
import { existsSync } from 'node:fs'
import { Command } from 'commander'
import { OPERATOR_USER } from '#contracts/permissions'
import { RECORDING_VERSION, type RecordingHeader } from '#contracts/recording'
import { subjects } from '#contracts/subjects'
import { ROWS_MAX } from '#contracts/trace-file'
import { HeadgateError, type Headgate, type Transport, type TransportMessage } from '#client'
import { dialOptions, withHeadgate, type DialFlags } from './dialing.ts'
import { recordFile, type RecordFile } from './record-file.ts'
import { hashedNames, OPEN_MAX, recorder, type FeedEvent, type Recorder } from './recorder.ts'
import { onStop } from './signals.ts'
import { after, every, now, secret, wall } from '#platform/system'
import { numberFrom } from './simulate-options.ts'
import { Failure, messageOf, Misuse, tell } from './terminal.ts'

interface RecordFlags extends DialFlags {
  out: string
  for?: number
  force?: true
  hashTenants?: true
}

/** What was heard is in the file after so long at the latest. */
const FLUSH_MS = 1_000
/** 23 days; a timer holds little more. */
const FOR_MAX_S = 2_000_000

export const record = (): Command =>
  dialOptions(new Command('record'))
    .summary('write down what is asked for, as a trace for `simulate`')
    .description(
      'Writes one line for each request that settles: when it arrived, tenant, lane, model, limits, ' +
        'tokens, times and how it ended. No prompt, no answer, no key. It sees what every tenant asks, ' +
        "so it needs an operator's permissions. Ctrl-C ends it.",
    )
    .requiredOption('--out <file>', 'where to write')
    .option('--for <seconds>', 'end by itself after so long', numberFrom(0.1, FOR_MAX_S))
    .option('--force', 'overwrite the file if it exists')
    .option('--hash-tenants', 'write a salted hash instead of each name; the salt is not kept')
    .action(async (flags: RecordFlags) => {
      if (flags.out === '-') throw new Misuse('--out: expected a file; there is no way to a pipe')
      if (flags.force !== true && existsSync(flags.out))
        throw new Misuse(`--out: ${flags.out} exists; --force overwrites it`)
      await withHeadgate({ ...flags, tenant: OPERATOR_USER }, (headgate, transport) =>
        run({ flags, headgate, transport }),
      )
    })

interface Way {
  flags: RecordFlags
  headgate: Headgate
  transport: Transport
}

async function run(way: Way): Promise<void> {
  const { flags } = way
  const hashed = flags.hashTenants === true
  const file = recordFile({ path: flags.out, force: flags.force === true })
  try {
    file.line({
      headgate: 'recording',
      version: RECORDING_VERSION,
      started: new Date(wall()).toISOString(),
      hashed_tenants: hashed,
    } satisfies RecordingHeader)
    file.flush()
    const recording = recorder({
      now,
      name: hashed ? hashedNames(secret()) : (tenant) => tenant,
      write: (request) => file.line(request),
    })
    const awayMs = await listen(way, { file, recording })
    file.flush()
    tell(summaryOf(recording, awayMs))
  } finally {
    file.close()
  }
}

/** Until somebody or something ends it; the answer is how long NATS was away, in milliseconds. */
async function listen(
  { flags, headgate, transport }: Way,
  { file, recording }: { file: RecordFile; recording: Recorder },
): Promise<number> {
  const over = Promise.withResolvers<void>()
  const presence = watchNats(transport)
  /** Whatever throws in a callback ends the recording, and the command says it. */
  const guarded = (work: () => void): void => {
    try {
      work()
    } catch (error) {
      over.reject(error)
    }
  }
  const hear = (message: TransportMessage): void => {
    recording.hear(feedEvent(message))
    if (recording.counts().written >= ROWS_MAX) over.resolve()
  }
  const look = (): void => {
    file.flush()
    presence.look()
  }
  const to = subjects(flags.subjectPrefix ?? 'llm')
  const subject = to.requestEvent('*', '*')
  const subscription = transport.subscribe(subject, (message) => guarded(() => hear(message)))
  const ends = [
    () => subscription.close(),
    onStop(() => over.resolve()),
    every(FLUSH_MS, () => guarded(look)),
    transport.onFault((fault) =>
      over.reject(
        new Failure(`${fault.subject}: ${fault.detail}; recording needs an operator's user`),
      ),
    ),
    flags.for === undefined ? undefined : after(flags.for * 1_000, () => over.resolve()),
  ]
  void greet(headgate).then((words) => tell(`recording into ${flags.out}${words}; Ctrl-C ends it`))
  try {
    await over.promise
  } finally {
    for (const end of ends) end?.()
  }
  return presence.awayMs()
}

/** A way there and back, after which the server knows that we listen. */
async function greet(headgate: Headgate): Promise<string> {
  try {
    await headgate.admin('snapshot')
    return ''
  } catch (error) {
    if (!(error instanceof HeadgateError)) return ''
    return `, though no scheduler answers yet (${messageOf(error)})`
  }
}

const feedEvent = (message: TransportMessage): FeedEvent => ({
  type: message.header('ce-type') ?? '',
  time: message.header('ce-time') ?? '',
  text: () => new TextDecoder().decode(message.data),
})

/** Notices that the server is away, says so once, and adds up how long. */
function watchNats(transport: Transport): { look(): void; awayMs(): number } {
  let since: number | null = null
  let total = 0
  let looking = false
  const back = (): void => {
    if (since === null) return
    total += now() - since
    since = null
    tell('NATS is back')
  }
  return {
    look() {
      if (looking) return
      looking = true
      const asked = now()
      transport
        .ready()
        .then(back, () => {
          if (since === null) tell('NATS is away; what was heard is in the file')
          since ??= asked
        })
        .finally(() => (looking = false))
    },
    awayMs: () => total + (since === null ? 0 : now() - since),
  }
}

function summaryOf(recording: Recorder, awayMs: number): string {
  const { written, before, unsettled, dropped, unreadable } = recording.counts()
  return [
    `${written} ${written === 1 ? 'request' : 'requests'} recorded`,
    ...(written >= ROWS_MAX ? [`a recording holds no more than ${ROWS_MAX}`] : []),
    ...(before > 0 ? [`${before} left out that had arrived before`] : []),
    ...(unsettled > 0 ? [`${unsettled} left out that had not settled`] : []),
    ...(dropped > 0
      ? [`${dropped} dropped while open (at most ${OPEN_MAX}): what they asked for is null`]
      : []),
    ...(unreadable > 0 ? [`${unreadable} events that could not be read`] : []),
    ...(awayMs > 0 ? [`NATS was away for ${Math.ceil(awayMs / 1_000)} s`] : []),
  ].join('; ')
}
