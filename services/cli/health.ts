/** `headgate health`: asks the Headgate of this machine whether its doors take requests; what a container's
 *  health check runs. Where the doors are it takes from the same variables as `headgate serve`. */
import { request as plainRequest } from 'node:http'
import { request as tlsRequest } from 'node:https'
import { Command, Option } from 'commander'
import { GATEWAY_PORT, HTTP_PORT } from './default-ports.ts'
import { env, Failure, json, messageOf, Misuse, positiveWhole, say } from './terminal.ts'

/** Less than what a container's health check usually has. */
const TIMEOUT_MS = 2_000

type Door = 'any' | 'nats' | 'http'

interface HealthFlags {
  door: Door
  timeout: number
  json?: true
}

/** Answers of `/readyz`, on either port. */
interface Readiness {
  ready: boolean
  reasons: string[]
  doors: Record<string, { ready: boolean; reasons: string[] }>
}

export const health = (): Command =>
  new Command('health')
    .summary('ask whether the doors of this machine take requests')
    .description(
      'Asks /readyz of the Headgate on this machine: of the port of `headgate serve`, or, where nobody ' +
        'listens there, of `headgate gateway`. Status 0 when requests are taken, 1 when they are not. ' +
        'Reads HEADGATE_HOST, HEADGATE_HTTP_PORT, HEADGATE_GATEWAY_PORT and HEADGATE_TLS_CERT.',
    )
    .addOption(
      new Option('--door <door>', 'any: one door that serves is enough; or this one')
        .choices(['any', 'nats', 'http'])
        .default('any'),
    )
    .option('--timeout <ms>', 'how long to wait for the answer', positiveWhole, TIMEOUT_MS)
    .option('--json', 'print the answer as it came')
    .action(async (flags: HealthFlags) => {
      const found = await readiness(flags.door, flags.timeout)
      if (flags.json === true) json(found)
      else say(wordsOf(found))
      if (!found.ready) process.exitCode = 1
    })

/** The door's own port speaks for it; the operator's port for all. */
async function readiness(door: Door, timeoutMs: number): Promise<Readiness> {
  const operator = portOf('HEADGATE_HTTP_PORT', HTTP_PORT)
  const gateway = portOf('HEADGATE_GATEWAY_PORT', GATEWAY_PORT)
  if (door === 'http') return ask(gateway, '/readyz', timeoutMs)
  const path = door === 'nats' ? '/readyz?door=nats' : '/readyz'
  try {
    return await ask(operator, path, timeoutMs)
  } catch (error) {
    if (door === 'nats' || !(error instanceof NobodyListens)) throw error
    // `headgate gateway` has no operator's port.
    return ask(gateway, path, timeoutMs).catch((other: unknown) => {
      throw other instanceof NobodyListens
        ? new Failure(`nobody listens at ${error.address}, nor at ${other.address}`)
        : other
    })
  }
}

class NobodyListens extends Failure {
  readonly address: string
  constructor(address: string) {
    super(`nobody listens at ${address}`)
    this.address = address
  }
}

function ask(port: number, path: string, timeoutMs: number): Promise<Readiness> {
  const tls = env('HEADGATE_TLS_CERT') !== undefined
  const host = hostOf(env('HEADGATE_HOST') ?? '127.0.0.1')
  const address = `${tls ? 'https' : 'http'}://${host.includes(':') ? `[${host}]` : host}:${port}`
  return new Promise((resolve, reject) => {
    // It is our own certificate, made for the name that others call us by.
    const options = {
      host,
      port,
      path,
      agent: false,
      rejectUnauthorized: false,
      timeout: timeoutMs,
    }
    const sent = (tls ? tlsRequest : plainRequest)(options, (answer) => {
      const parts: Buffer[] = []
      answer.on('data', (part: Buffer) => parts.push(part))
      answer.on('end', () => {
        try {
          resolve(readinessOf(Buffer.concat(parts).toString()))
        } catch {
          const said = `${address}${path} answered ${answer.statusCode} and not as a Headgate does`
          reject(new Failure(said))
        }
      })
    })
    sent.on('timeout', () =>
      sent.destroy(new Failure(`${address}${path} has not answered within ${timeoutMs} ms`)),
    )
    sent.on('error', (error: NodeJS.ErrnoException) =>
      reject(
        error instanceof Failure
          ? error
          : error.code === 'ECONNREFUSED'
            ? new NobodyListens(address)
            : new Failure(`${address}${path}: ${messageOf(error)}`),
      ),
    )
    sent.end()
  })
}

function readinessOf(text: string): Readiness {
  const { ready, reasons, doors } = JSON.parse(text) as Partial<Readiness>
  if (typeof ready !== 'boolean' || !Array.isArray(reasons)) throw new Error('not a readiness')
  return { ready, reasons, doors: doors ?? {} }
}

/** Everywhere is here too. */
const hostOf = (host: string): string =>
  host === '0.0.0.0' ? '127.0.0.1' : host === '::' || host === '[::]' ? '::1' : host

function portOf(variable: string, usual: number): number {
  const said = env(variable)
  const value = said === undefined ? usual : Number(said)
  if (Number.isInteger(value) && value >= 1 && value <= 65_535) return value
  throw new Misuse(`${variable}=${said}: expected the port that it listens on, from 1 to 65535`)
}

function wordsOf({ ready, reasons, doors }: Readiness): string {
  const each = Object.entries(doors).map(
    ([name, one]) => `${name}: ${one.ready ? 'ready' : one.reasons.join(', ')}`,
  )
  const said = each.length === 0 ? reasons : each
  return `${ready ? 'ready' : 'not ready'}${said.length === 0 ? '' : ` (${said.join('; ')})`}`
}
