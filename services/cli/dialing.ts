/** How a verb reaches NATS: the environment's words, and what `--nats` says instead. */
import { readFileSync } from 'node:fs'
import type { Command } from 'commander'
import {
  clientSystem,
  connectHeadgate,
  natsTransport,
  type Headgate,
  type NatsTls,
  type NatsTransportOptions,
  type Transport,
} from '#client'
import { after, within } from '#platform/system'
import { env, Failure, messageOf, token } from './terminal.ts'

export interface DialFlags {
  nats?: string
  subjectPrefix?: string
}

export const dialOptions = (command: Command): Command =>
  command
    .option('--nats <url>', 'server (default: NATS_URL, else nats://127.0.0.1:4222)')
    .option('--subject-prefix <token>', "the configuration's subject_prefix (default: llm)", token)

export const natsUrl = (given?: string): string =>
  given ?? env('NATS_URL') ?? 'nats://127.0.0.1:4222'

/** `NATS_CREDS`, `NATS_CA`, `NATS_CERT` and `NATS_KEY` name files, as they do for the nats command. `own`: a
 *  server that we started, which has no TLS, whatever is said of others. */
export function dialing(servers: string, { own = false } = {}): NatsTransportOptions {
  return {
    servers,
    user: env('NATS_USER'),
    password: env('NATS_PASSWORD'),
    creds: fileOf('NATS_CREDS'),
    tls: own ? undefined : tls(),
    name: 'headgate cli',
    system: clientSystem,
  }
}

/** Undefined: nothing is said of it, and the server's word on TLS counts. */
function tls(): NatsTls | undefined {
  const [ca, cert, key] = [fileOf('NATS_CA'), fileOf('NATS_CERT'), fileOf('NATS_KEY')]
  if ((cert === undefined) !== (key === undefined))
    throw new Failure('NATS_CERT and NATS_KEY belong together: set both or neither')
  if (ca === undefined && cert === undefined) return undefined
  return { ca: ca?.toString(), cert: cert?.toString(), key: key?.toString() }
}

/** The content of the file that a variable names. */
function fileOf(name: string): Buffer | undefined {
  const path = env(name)
  if (path === undefined) return undefined
  try {
    return readFileSync(path)
  } catch (error) {
    throw new Failure(`${name}: ${messageOf(error)}`)
  }
}

/** Does something with a connection and closes it. */
export async function withHeadgate<T>(
  of: DialFlags & { tenant?: string },
  use: (headgate: Headgate, transport: Transport) => Promise<T>,
): Promise<T> {
  const transport = await natsTransport(dialing(natsUrl(of.nats))).catch((error: unknown) => {
    throw new Failure(messageOf(error))
  })
  try {
    const { tenant = 'default', subjectPrefix = 'llm' } = of
    const headgate = await connectHeadgate({ tenant, transport, subjectPrefix })
    return await use(headgate, transport)
  } finally {
    // A server that stands still never says goodbye, and its socket would keep us.
    const closed = await within(
      CLOSE_MS,
      transport.close().then(() => true),
    )
    if (closed === null) after(LAST_WORDS_MS, () => process.exit())
  }
}

const CLOSE_MS = 1_500
const LAST_WORDS_MS = 200
