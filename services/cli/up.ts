/** `headgate up`: everything on embedded defaults, and with a trace a replay of it. */
import { Command } from 'commander'
import { HeadgateError } from '#client'
import {
  checkReplay,
  finish,
  replay,
  replayOptions,
  replayProvider,
  traceOf,
  type ReplayFlags,
} from './replay.ts'
import type { ReplayReport } from './replay-report.ts'
import { Interrupted, isSimulated, keepStack, type Stack, type StackKeeper } from './stack.ts'
import { onStop } from './signals.ts'
import { now } from '#platform/system'
import {
  CALL,
  env,
  Failure,
  fileName,
  INSPECT_HELP,
  inspectOf,
  Misuse,
  MODEL,
  port,
  say,
  tell,
} from './terminal.ts'
import { version } from './version.ts'

interface UpFlags extends ReplayFlags {
  config?: string
  natsPort?: number
  httpPort?: number
  gatewayPort?: number
  inspect?: number | true
}

export const up = (): Command =>
  replayOptions(command()).action(async (flags: UpFlags, self: Command) => {
    if (flags.natsPort !== undefined && env('NATS_URL') !== undefined)
      throw new Misuse(
        '--nats-port: NATS_URL is set, so no nats-server is started; drop one of them',
      )
    const asked = checkReplay(flags, self)
    process.exitCode = asked === null ? await live(flags) : await replays(flags)
  })

const command = (): Command =>
  new Command('up')
    .summary('start everything on embedded defaults')
    .description(
      'Starts a nats-server (or uses NATS_URL), a simulated provider when there is no ' +
        'ANTHROPIC_API_KEY, and the scheduler; says where to look; makes a first request. ' +
        'Ctrl-C lets running requests end and stops everything; a second Ctrl-C hurries.',
    )
    .option('--config <file>', 'configuration (default: HEADGATE_CONFIG, else defaults)', fileName)
    .option(
      '--nats-port <port>',
      'port of the nats-server (default: 4222 or the next free one)',
      port,
    )
    .option('--http-port <port>', "the operator's port (default: 8780 or the next free one)", port)
    .option(
      '--gateway-port <port>',
      'port of the Anthropic-compatible door (default: 8781 or the next free one)',
      port,
    )
    .option('--inspect [port]', INSPECT_HELP, port)

function live(flags: UpFlags): Promise<number> {
  const simulated = env('ANTHROPIC_API_KEY') === undefined
  const keeper = keepStack({
    ...stackOf(flags),
    gateway: { port: flags.gatewayPort },
    simulated: simulated ? {} : null,
    logLevel: 'warn',
  })
  return underSignals(keeper, say, async () => {
    const stack = await keeper.start()
    banner(stack, say)
    await firstRequest(stack)
    howTo(stack)
    throw new Failure(await keeper.died)
  })
}

async function replays(flags: UpFlags): Promise<number> {
  const line = flags.json === true ? tell : say
  const trace = await traceOf(flags)
  const reports: ReplayReport[] = []
  const turns = flags.compare === true ? [false, true] : [true]
  for (const extras of turns) {
    const last = extras === turns.at(-1)
    const keeper = keepStack({
      ...stackOf(flags),
      gateway: null,
      simulated: replayProvider(flags),
      logLevel: 'silent',
    })
    const status = await underSignals(keeper, line, async (signal) => {
      const stack = await keeper.start()
      if (!isSimulated(stack)) {
        const where = stack.upstreams.join(', ')
        throw new Failure(
          `a replay goes to the simulated provider only, and the configuration names ${where}`,
        )
      }
      if (reports.length === 0) banner(stack, line)
      const turn = replay(stack, { flags, trace, extras, line, signal })
      const report = await Promise.race([turn, keeper.died])
      if (typeof report === 'string') throw new Failure(report)
      reports.push(report)
      if (!last) return 0
      const found = finish(reports, flags, line)
      if (flags.stay !== true) return found
      howTo(stack)
      throw new Failure(await keeper.died)
    })
    if (status !== 0 || last) return status
    // Interrupted.
    if (reports.length === 0) return status
  }
  return 0
}

const stackOf = (flags: UpFlags) => ({
  configPath: flags.config,
  natsPort: flags.natsPort,
  httpPort: flags.httpPort,
  inspect: inspectOf(flags.inspect),
})

/** Runs until it ends or somebody says stop; whichever it is, nothing is left behind. */
export async function underSignals(
  keeper: StackKeeper,
  line: (text: string) => void,
  work: (signal: AbortSignal) => Promise<number>,
): Promise<number> {
  const asked = Promise.withResolvers<number>()
  const leaving = new AbortController()
  let signals = 0
  const deaf = onStop((_, times) => {
    signals = times
    if (times > 1) return keeper.hurry()
    line('\nstopping: running requests may end; Ctrl-C again hurries them')
    leaving.abort(new Interrupted())
    asked.resolve(0)
  })
  const working = work(leaving.signal)
  // The one that loses the race is not heard.
  working.catch(() => {})
  try {
    return await Promise.race([working, asked.promise])
  } catch (error) {
    if (error instanceof Interrupted) return 0
    throw error
  } finally {
    await keeper.stop()
    if (signals > 0) line('stopped')
    deaf()
  }
}

export function banner(stack: Stack, line: (text: string) => void): void {
  const { nats, adminToken } = stack
  line(`Headgate ${version}`)
  line(
    nats === null
      ? `  bus       in memory: ${stack.noNats}`
      : `  NATS      ${withoutSecret(nats.url)}  (${nats.source})`,
  )
  if (nats === null) {
    line(
      '            Only this command reaches it. For a real one put nats-server 2.10 or later on PATH.',
    )
  }
  if (stack.gatewayUrl !== null)
    line(`  HTTP door ${stack.gatewayUrl}  (the base URL of any Anthropic SDK)`)
  line(`  dashboard ${stack.httpUrl}  (also /metrics /api/snapshot /api/events)`)
  if (stack.inspectUrl !== null)
    line(`  inspector ${stack.inspectUrl}  (the machines, in Stately's inspector)`)
  line(
    adminToken.made
      ? `  token     ${adminToken.token}  (Authorization: Bearer, for POST /api/admin/…)`
      : '  token     HEADGATE_ADMIN_TOKEN: yours',
  )
  line(
    isSimulated(stack)
      ? `  upstream  ${stack.simulatedUrl}  (simulated: it costs nothing and knows nothing)`
      : `  upstream  ${stack.upstreams.join(', ')}  (not simulated: requests may cost money)`,
  )
}

const FIRST = {
  model: MODEL,
  max_tokens: 24,
  messages: [{ role: 'user' as const, content: 'Say hello.' }],
}

/** So that a newcomer sees that it works. Not with a real key: it is not ours to spend. */
async function firstRequest(stack: Stack): Promise<void> {
  if (!isSimulated(stack)) {
    return say('  first     none was made, since it would cost money; the next lines say how')
  }
  const client = await stack.connect({ tenant: 'first' })
  const began = now()
  try {
    const { body, accounting } = await client.request(FIRST)
    const [block] = body.content
    const text = block?.type === 'text' ? block.text : ''
    const took = Math.round(now() - began)
    say(`  first answer in ${took} ms (${accounting.queueMs} ms queued): ${JSON.stringify(text)}`)
  } catch (error) {
    if (!(error instanceof HeadgateError)) throw error
    tell(`headgate: the first request failed: ${error.code}: ${error.message}`)
  } finally {
    await client.close()
  }
}

function howTo(stack: Stack): void {
  const { nats, gatewayUrl } = stack
  const body = `'${JSON.stringify({ ...FIRST, max_tokens: 64 })}'`
  if (nats !== null || gatewayUrl !== null) say('\nFrom another terminal:')
  if (gatewayUrl !== null) say(`  curl ${gatewayUrl}/v1/messages -d ${body}`)
  if (nats !== null) {
    const url = withoutSecret(nats.url)
    const at = nats.url === 'nats://127.0.0.1:4222' ? '' : ` --nats ${url}`
    say(`  ${CALL} request --message 'Say hello.' --stream${at}`)
    say(`  ${CALL} top${at}`)
    say(`  nats --server ${url} req --timeout 60s llm.v1.request.acme.interactive ${body}`)
  }
  if (isSimulated(stack)) {
    const { made, token } = stack.adminToken
    const bearer = made
      ? `'Authorization: Bearer ${token}'`
      : '"Authorization: Bearer $HEADGATE_ADMIN_TOKEN"'
    say(`\nA minute of 529, to see what it does (quota_drop and hang are others, off ends them):`)
    say(`  curl -H ${bearer} -d '{"kind":"storm"}' ${stack.httpUrl}/api/admin/fault`)
  }
  say('\nCtrl-C ends it.')
}

const withoutSecret = (url: string): string => url.replace(/\/\/[^@/]*@/, '//')
