/** Makes one small call to each upstream of the configuration, or to the one that its argument names, and tells
 *  its parent over IPC what came of it; started by `headgate doctor --upstream`. */
import { env } from '#platform/config/environment'
import { ConfigError, loadConfig } from '#platform/config/load'
import { anthropicProvider } from '#scheduler/provider/anthropic'
import { systemClock } from '#platform/system'
import { trialCalls, type TrialCall } from './trial-calls.ts'

/** The first argument, as JSON. */
interface Asked {
  only: string | null
  model: string | null
  modelElse: string
}

type ToParent =
  { type: 'ready'; calls: TrialCall[] } | { type: 'failed'; message: string; misuse: boolean }

// A parent that is gone needs no answer.
process.once('disconnect', () => process.exit(1))
const word = await answer()
await new Promise((sent) => process.send?.(word, sent))
process.exit(0)

async function answer(): Promise<ToParent> {
  const asked = JSON.parse(process.argv[2] ?? '{}') as Asked
  try {
    const { config } = loadConfig({ path: env('HEADGATE_CONFIG') ?? null, emergency: false })
    const names = Object.keys(config.file.upstreams)
    if (asked.only !== null && !names.includes(asked.only)) {
      const message = `no upstream ${asked.only}: the configuration has ${names.join(', ')}`
      return { type: 'failed', message, misuse: true }
    }
    const provider = anthropicProvider({
      clock: systemClock,
      connections: Object.keys(config.file.upstreams).length,
      retryAfterMaxMs: config.file.llm_gateway.retry.retry_after_max_ms,
    })
    const calls = await trialCalls({ ...asked, config, env, provider, clock: systemClock })
    await provider.close()
    return { type: 'ready', calls }
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    return { type: 'failed', message: error.message, misuse: false }
  }
}
