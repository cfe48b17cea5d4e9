/** The simulated Anthropic API: the public door, and its HTTP side. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createApi } from './api.ts'
import type { BatchWays } from './batches.ts'
import { createControl, type Stats } from './control.ts'
import { controlDoor } from './control-door.ts'
import { readFaultSpec } from './fault-spec.ts'
import { FAULT_KINDS, faultKinds, type FaultKind, type FaultSpec } from './faults.ts'
import type { LedgerPage } from './ledger.ts'
import { settle, type Limits, type SimulatedProviderOptions } from './options.ts'

export { FAULT_KINDS, faultKinds }
export type { BatchWays, FaultKind, FaultSpec, LedgerPage, Limits, SimulatedProviderOptions, Stats }

export interface SimulatedProvider {
  /** `http://host:port`, without a slash at its end. */
  readonly url: string
  readonly port: number
  /** Sets a fault; throws when the spec makes no sense, saying what is allowed. */
  fault(spec: FaultSpec): void
  /** Ends every fault. */
  clear(): void
  /** Every Messages call after number `since`, oldest first. */
  ledger(since?: number): LedgerPage
  stats(): Stats
  /** Hidden concurrency; Infinity for none. */
  setCapacity(capacity: number): void
  /** Limits of one class of models, or of all. */
  setLimits(limits: Limits, model?: string): void
  /** How message batches go from now on; what is not named stays. */
  setBatches(ways: Partial<BatchWays>): void
  /** Drops every connection and frees the port. */
  close(): Promise<void>
}

/** What a real edge does with an idle connection. */
const KEEP_ALIVE_MS = 400_000

/** Starts a provider; resolves when it listens. */
export async function startSimulatedProvider(
  options: SimulatedProviderOptions = {},
): Promise<SimulatedProvider> {
  const settings = settle(options)
  const api = createApi(settings)
  const server = createServer({ keepAliveTimeout: KEEP_ALIVE_MS, noDelay: true })
  server.requestTimeout = 0
  let connections = 0
  server.on('connection', (socket) => {
    connections++
    socket.once('close', () => connections--)
  })
  const control = createControl(api, {
    connections: () => connections,
    closeIdle: () => server.closeIdleConnections(),
  })
  const door = controlDoor(api, control)
  server.on('request', (req: IncomingMessage, res: ServerResponse) => {
    const url = req.url ?? '/'
    const query = url.indexOf('?')
    const path = query < 0 ? url : url.slice(0, query)
    const search = query < 0 ? '' : url.slice(query)
    const answer = path.startsWith('/_sim') ? door : api.serve
    const bytesMax = path === BATCHES ? BATCH_BYTES_MAX : BODY_BYTES_MAX
    receive(req, bytesMax, (body) => answer({ req, res, path, search, body }))
  })
  const port = await listen(server, settings)
  const host = settings.host.includes(':') ? `[${settings.host}]` : settings.host
  return {
    url: `http://${host}:${port}`,
    port,
    fault(spec) {
      const read = readFaultSpec(spec)
      if ('problems' in read) throw new TypeError(read.problems.join('; '))
      control.setFault(read.spec)
    },
    clear: () => api.world.faults.clear(),
    ledger: (since) => api.ledger.read(since),
    stats: control.stats,
    setCapacity: control.setCapacity,
    setLimits: control.setLimits,
    setBatches: control.setBatches,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

/** Bodies above this are refused by the edge. */
const BODY_BYTES_MAX = 32 * 1_024 * 1_024
const BATCHES = '/v1/messages/batches'
const BATCH_BYTES_MAX = 256 * 1_024 * 1_024

/** Collects a body, or null when it is longer than the edge allows. */
function receive(
  req: IncomingMessage,
  bytesMax: number,
  then: (body: Buffer | null) => void,
): void {
  if (Number(req.headers['content-length'] ?? 0) > bytesMax) {
    req.resume()
    return then(null)
  }
  if (req.method === 'GET' || req.method === 'DELETE') {
    req.resume()
    return then(NO_BODY)
  }
  const chunks: Buffer[] = []
  let bytes = 0
  req.on('data', (chunk: Buffer) => {
    if (bytes > bytesMax) return
    bytes += chunk.length
    chunks.push(chunk)
    if (bytes > bytesMax) then(null)
  })
  req.on('end', () => {
    if (bytes > bytesMax) return
    then(chunks.length === 1 && chunks[0] !== undefined ? chunks[0] : Buffer.concat(chunks))
  })
}

const NO_BODY = Buffer.alloc(0)

const listen = (server: Server, at: { port: number; host: string }): Promise<number> =>
  new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(at.port, at.host, () => {
      server.off('error', reject)
      resolve((server.address() as AddressInfo).port)
    })
  })
