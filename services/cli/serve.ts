/** `headgate serve`: the scheduler alone, against NATS_URL. Good as process 1 of a container: signals go on
 *  to the scheduler, and its end is ours. */
import { Command } from 'commander'
import { inForeground, LESS_MEMORY_HELP, withDoors, workers, WORKERS_HELP } from './foreground.ts'
import { env, fileName, INSPECT_HELP, inspectOf, Misuse, port } from './terminal.ts'

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
    .option('--config <file>', 'configuration (default: HEADGATE_CONFIG, else defaults)', fileName)
    .option('--gateway', 'open the Anthropic-compatible HTTP door beside it, in the same process')
    .option('--workers <count>', WORKERS_HELP, workers)
    .option('--less-memory', LESS_MEMORY_HELP)
    .option('--inspect [port]', INSPECT_HELP, port)
    .action(async (flags: Flags) => {
      const config = flags.config ?? env('HEADGATE_CONFIG')
      const door = flags.gateway === true ? 'on' : env('HEADGATE_GATEWAY')
      const apart = flags.workers !== undefined
      if (apart && door === undefined)
        throw new Misuse('--workers: they serve the HTTP door; add --gateway')
      const lessMemory = flags.lessMemory === true
      const scheduler = {
        name: 'scheduler' as const,
        lessMemory,
        env: {
          HEADGATE_CONFIG: config,
          HEADGATE_INSPECT: inspectOf(flags.inspect),
          HEADGATE_GATEWAY: apart ? undefined : door,
        },
      }
      process.exitCode = apart
        ? await withDoors({ scheduler, doors: flags.workers ?? 1, config, lessMemory })
        : await inForeground(scheduler)
    })

interface Flags {
  config?: string
  gateway?: true
  workers?: number
  lessMemory?: true
  inspect?: number | true
}
