/** `headgate provider`: the simulated provider alone, an Anthropic API that costs nothing and fails when
 *  asked. */
import { Command } from 'commander'
import { inForeground } from './foreground.ts'
import { port, positive, positiveWhole, say, wholeNumber } from './terminal.ts'

interface ProviderFlags {
  host: string
  port: number
  speed?: number
  capacity?: number
  seed?: number
  rpm?: number
  itpm?: number
  otpm?: number
  burstSeconds?: number
  ttft?: number
  tokensPerSecond?: number
  outputTokens?: number
  json?: true
}

export const provider = (): Command =>
  new Command('provider')
    .summary('run the simulated provider alone')
    .description('An Anthropic API that answers with made-up text and fails when asked.')
    .addHelpText(
      'after',
      `
GET /_sim lists its controls; its ledger knows every call. A storm of 30 s:
  curl -d '{"kind":"storm_529","forMs":30000}' http://127.0.0.1:8790/_sim/faults
Point a Headgate at it with ANTHROPIC_BASE_URL and any ANTHROPIC_API_KEY.`,
    )
    .option('--host <address>', 'where it listens', '127.0.0.1')
    .option('--port <port>', 'its port; 0 takes any free one', port, 8_790)
    .option('--speed <n>', 'so many times faster', positive)
    .option('--capacity <n>', 'hidden concurrency: above it some calls get 529', wholeNumber)
    .option('--seed <n>', 'equal seed and order of calls: equal answers', wholeNumber)
    .option('--rpm <n>', 'requests per minute', positiveWhole)
    .option('--itpm <n>', 'input tokens per minute', positiveWhole)
    .option('--otpm <n>', 'output tokens per minute', positiveWhole)
    .option('--burst-seconds <s>', 'a limit is saved up for so long', positive)
    .option('--ttft <ms>', 'median time to first token', wholeNumber)
    .option('--tokens-per-second <n>', 'output speed', positive)
    .option('--output-tokens <n>', 'mean length of an answer', wholeNumber)
    .option('--json', 'say where it is as JSON')
    .action(async (flags: ProviderFlags) => {
      const args = [JSON.stringify(optionsOf(flags))]
      process.exitCode = await inForeground({ name: 'simulated provider', args }, ({ url }) =>
        say(flags.json === true ? JSON.stringify({ url }) : `simulated provider at ${String(url)}`),
      )
    })

/** What is undefined falls out of the JSON. */
function optionsOf(flags: ProviderFlags): Record<string, unknown> {
  const { host, port: at, speed, capacity, seed, rpm, itpm, otpm, burstSeconds } = flags
  const { ttft: ttftMs, tokensPerSecond, outputTokens } = flags
  const limited = rpm !== undefined || itpm !== undefined || otpm !== undefined
  return {
    ...{ host, port: at, speed, capacity, seed, ttftMs, tokensPerSecond, outputTokens },
    ...(limited ? { limits: { rpm, itpm, otpm, burstSeconds } } : {}),
  }
}
