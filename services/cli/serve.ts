/** `headgate serve`: the scheduler alone, against NATS_URL. Good as process 1 of a container: signals go on
 *  to the scheduler, and its end is ours. */
import { Command } from 'commander'
import { sayEnd, startProgram } from './program.ts'
import { onStop } from './signals.ts'
import { env, Failure, INSPECT_HELP, inspectOf, messageOf, port } from './terminal.ts'

export const serve = (): Command =>
  new Command('serve')
    .summary('run the scheduler against NATS_URL')
    .description(
      'Runs the scheduler until it is told to stop: SIGTERM or SIGINT drain it, a second one ' +
        'hurries. Everything else stands in the environment: NATS_URL, NATS_USER, ' +
        'NATS_PASSWORD, NATS_CREDS, NATS_CA, NATS_CERT, NATS_KEY, ANTHROPIC_API_KEY, ' +
        'ANTHROPIC_BASE_URL, HEADGATE_CONFIG, HEADGATE_FLEET_MEMBER, HEADGATE_HOST, ' +
        'HEADGATE_HTTP_PORT, HEADGATE_GATEWAY_PORT, HEADGATE_ADMIN_TOKEN, HEADGATE_TLS_CERT, ' +
        'HEADGATE_TLS_KEY, LOG_LEVEL.',
    )
    .option('--config <file>', 'configuration (default: HEADGATE_CONFIG, else defaults)')
    .option('--gateway', 'open the Anthropic-compatible HTTP door beside it, in the same process')
    .option('--inspect [port]', INSPECT_HELP, port)
    .action(async (flags: { config?: string; gateway?: true; inspect?: number | true }) => {
      process.exitCode = await inForeground({
        name: 'scheduler',
        env: {
          HEADGATE_CONFIG: flags.config ?? env('HEADGATE_CONFIG'),
          HEADGATE_INSPECT: inspectOf(flags.inspect),
          HEADGATE_GATEWAY: flags.gateway === true ? 'on' : env('HEADGATE_GATEWAY'),
        },
      })
    })

/** Runs one program in the foreground and ends as it ends. */
export async function inForeground(
  of: Parameters<typeof startProgram>[0],
  onReady: (ready: Record<string, unknown>) => void = () => {},
): Promise<number> {
  const program = startProgram<Record<string, unknown>>({ output: 'stdout', ...of })
  let asked = false
  onStop((signal) => {
    asked = true
    program.signal(signal === 'SIGHUP' ? 'SIGTERM' : signal)
  })
  try {
    onReady(await program.ready)
  } catch (error) {
    await program.ended
    if (asked) return 0
    throw new Failure(messageOf(error))
  }
  const end = await program.ended
  if (end.how === 'exit') return end.code === 0 ? 0 : 1
  throw new Failure(`the ${of.name} ${sayEnd(end)}`)
}
