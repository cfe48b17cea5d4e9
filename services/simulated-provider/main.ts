/** From the options in its first argument, a JSON object, to a running provider, and back on a signal:
 *  `node main.ts '{"port":8790,"speed":10}'`. A parent that talks over IPC hears when it is ready. */
import { startSimulatedProvider, type SimulatedProvider } from './listener.ts'
import type { SimulatedProviderOptions } from './options.ts'

/** What a parent over IPC is told. */
export type ToParent = { type: 'ready'; url: string } | { type: 'failed'; message: string }

type Named = Exclude<keyof SimulatedProviderOptions, 'clock'>

const KNOWN: Readonly<Record<Named, 'number' | 'string' | 'object'>> = {
  port: 'number',
  host: 'string',
  seed: 'number',
  capacity: 'number',
  limits: 'object',
  workspaceLimits: 'object',
  speed: 'number',
  ttftMs: 'number',
  tokensPerSecond: 'number',
  outputTokens: 'number',
  pingEveryMs: 'number',
  batchMs: 'number',
  keys: 'object',
  ledgerMax: 'number',
}

try {
  const provider = await startSimulatedProvider(readOptions(process.argv[2] ?? '{}'))
  closeOnSignals(provider)
  if (process.send === undefined) process.stdout.write(`simulated provider at ${provider.url}\n`)
  else tell({ type: 'ready', url: provider.url })
} catch (error) {
  const message = error instanceof Error ? error.message : String(error)
  if (process.send === undefined) process.stderr.write(`simulated provider: ${message}\n`)
  else await new Promise<void>((sent) => tell({ type: 'failed', message }, sent))
  process.exit(1)
}

function tell(word: ToParent, sent: () => void = () => {}): void {
  process.send?.(word, undefined, undefined, sent)
}

function closeOnSignals(provider: SimulatedProvider): void {
  const end = (): void => {
    void provider.close().then(() => process.exit(0))
  }
  process.once('SIGTERM', end)
  process.once('SIGINT', end)
  // A parent that is gone can no longer stop us.
  if (process.send !== undefined) process.once('disconnect', end)
}

/** Names and kinds are checked here, values where the options are settled. */
function readOptions(text: string): SimulatedProviderOptions {
  const options = parse(text)
  for (const [name, value] of Object.entries(options)) {
    if (!Object.hasOwn(KNOWN, name))
      throw new Error(`${name}: no such option; there are ${Object.keys(KNOWN).join(', ')}`)
    const kind = KNOWN[name as Named]
    if (typeof value !== kind || value === null) throw new Error(`${name}: expected a ${kind}`)
  }
  return options
}

function parse(text: string): SimulatedProviderOptions {
  let options: unknown
  try {
    options = JSON.parse(text)
  } catch {
    options = null
  }
  if (typeof options === 'object' && options !== null && !Array.isArray(options)) return options
  throw new Error('options: expected a JSON object as the first argument')
}
