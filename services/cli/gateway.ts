/** `headgate gateway`: the HTTP door alone, before any Headgate that serves NATS_URL. */
import { Command } from 'commander'
import { LESS_MEMORY_HELP, withDoors, workers, WORKERS_HELP } from './foreground.ts'
import { env, fileName } from './terminal.ts'

export const gateway = (): Command =>
  new Command('gateway')
    .summary('run the HTTP door alone, against NATS_URL')
    .description(
      'Serves POST /v1/messages, POST /v1/messages/count_tokens and GET /v1/models as the ' +
        'Anthropic API does, and asks the Headgate that listens at NATS_URL. Keys and tenants ' +
        'are those of the configuration; without any key it serves this machine only. ' +
        'Everything else stands in the environment: NATS_URL, NATS_USER, NATS_PASSWORD, ' +
        'NATS_CREDS, NATS_CA, NATS_CERT, NATS_KEY, HEADGATE_CONFIG, HEADGATE_HOST, HEADGATE_GATEWAY_PORT, HEADGATE_TLS_CERT, ' +
        'HEADGATE_TLS_KEY, LOG_LEVEL.',
    )
    .option('--config <file>', 'configuration (default: HEADGATE_CONFIG, else defaults)', fileName)
    .option('--workers <count>', WORKERS_HELP, workers, 1)
    .option('--less-memory', LESS_MEMORY_HELP)
    .action(async (flags: { config?: string; workers: number; lessMemory?: true }) => {
      process.exitCode = await withDoors({
        scheduler: null,
        doors: flags.workers,
        config: flags.config ?? env('HEADGATE_CONFIG'),
        lessMemory: flags.lessMemory === true,
      })
    })
