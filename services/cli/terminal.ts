/** What verbs say, and how they end. */
import { InvalidArgumentError } from 'commander'
import { isToken, TOKEN_SHAPE } from '#contracts/ids'

/** It failed: exit status 1, the message on stderr. */
export class Failure extends Error {
  override readonly name = 'Failure'
}

/** Called wrong: exit status 2. */
export class Misuse extends Error {
  override readonly name = 'Misuse'
}

/** Whoever read us may stop: that is no error of ours. `lasting` verbs go on without a reader. */
export function forgiveReaders(lasting: () => boolean): void {
  for (const stream of [process.stdout, process.stderr])
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (lasting()) return
      if (error.code !== 'EPIPE' && stream === process.stdout)
        process.stderr.write(`headgate: the output cannot be written (${error.code})\n`)
      process.exit(error.code === 'EPIPE' ? 0 : 1)
    })
}

export const say = (line: string): void => void process.stdout.write(`${line}\n`)
export const tell = (line: string): void => void process.stderr.write(`${line}\n`)
export const json = (value: unknown): void => say(JSON.stringify(value, null, 2))

export const messageOf = (error: unknown): string =>
  error instanceof Error ? error.message : String(error)

/** A variable that is set to nothing is not set. */
export const env = (name: string): string | undefined => {
  const value = process.env[name]
  return value === '' ? undefined : value
}

/** How a person calls us: from a checkout, or installed. */
export const CALL = import.meta.url.endsWith('.ts') ? 'npm run -s headgate --' : 'headgate'

/** Where nobody names one. */
export const MODEL = 'claude-haiku-4-5'

// ---- values of options ----

/** A tenant, a lane or an id. */
export function token(text: string): string {
  if (isToken(text)) return text
  throw new InvalidArgumentError(`expected ${TOKEN_SHAPE}`)
}

export const port = (text: string): number =>
  whole({ text, min: 0, max: 65_535, what: 'a port from 0 to 65535' })
export const positiveWhole = (text: string): number =>
  whole({ text, min: 1, max: 1_000_000_000, what: 'a whole number from 1 to 1000000000' })
export const wholeNumber = (text: string): number =>
  whole({ text, min: 0, max: Number.MAX_SAFE_INTEGER, what: 'a whole number of at least 0' })
/** Empty is what a variable that is not set leaves, and never a file. */
export function fileName(text: string): string {
  if (text !== '') return text
  throw new InvalidArgumentError('expected the name of a file, and it is empty')
}
/** The dice know 32 bits. */
export const seed = (text: string): number =>
  whole({ text, min: 0, max: 4_294_967_295, what: 'a whole number from 0 to 4294967295' })

export function whole(of: { text: string; min: number; max: number; what: string }): number {
  const value = Number(of.text)
  if (/^\d+$/.test(of.text) && value >= of.min && value <= of.max) return value
  throw new InvalidArgumentError(`expected ${of.what}`)
}

export const INSPECT_HELP =
  "offer the running machines to Stately's inspector, on loopback (default port: any free one)"

/** For the scheduler's environment: the port, 0 for any, or what the environment said already. */
export const inspectOf = (flag: number | true | undefined): string | undefined =>
  flag === undefined ? env('HEADGATE_INSPECT') : String(flag === true ? 0 : flag)

export function positive(text: string): number {
  const value = Number(text)
  if (text.trim() !== '' && value > 0 && value < 1e9) return value
  throw new InvalidArgumentError('expected a number above 0')
}
