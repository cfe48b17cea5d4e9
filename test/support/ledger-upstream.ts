/** A fake Claude that keeps the books of a fleet: who has how much in flight with it, and when each call began. A
 *  call is in flight until it is answered or its connection is gone. Each member has an address of its own here. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'

export interface LedgerUpstream {
  /** The base URL of one member. */
  urlOf(member: string): string
  inflight(): number
  /** Most in flight together, ever. */
  most(): number
  /** Each time that it was more than `limit`: when, how much, and whose. */
  readonly excesses: readonly Excess[]
  /** When each call began, ms. */
  readonly starts: readonly number[]
  answered(): number
  close(): Promise<void>
}

export interface Excess {
  atMs: number
  inflight: number
  by: Record<string, number>
}

const EXCESSES_MAX = 1_000
const ANSWER = JSON.stringify({
  ...{ id: 'msg_ledger', type: 'message', role: 'assistant', model: 'claude-ledger' },
  ...{ content: [{ type: 'text', text: 'x' }], stop_reason: 'end_turn', stop_sequence: null },
  usage: { input_tokens: 10, output_tokens: 1 },
})

export async function ledgerUpstream(of: {
  limit: number
  /** How long the next answer takes. */
  serviceMs: () => number
}): Promise<LedgerUpstream> {
  const by = new Map<string, number>()
  const starts: number[] = []
  const excesses: Excess[] = []
  let [inflight, most, answered, looks] = [0, 0, 0, false]
  const count = (member: string, more: number): void => {
    inflight += more
    by.set(member, (by.get(member) ?? 0) + more)
  }
  /** One call may have ended in the same turn of the loop in which another is read first. */
  const look = (): void => {
    looks = false
    most = Math.max(most, inflight)
    if (inflight > of.limit && excesses.length < EXCESSES_MAX)
      excesses.push({ atMs: performance.now(), inflight, by: Object.fromEntries(by) })
  }
  const serve = (req: IncomingMessage, res: ServerResponse): void => {
    const member = req.url?.split('/')[1] ?? ''
    starts.push(performance.now())
    count(member, 1)
    if (!looks) setImmediate(look)
    looks = true
    let over = false
    const end = (): void => {
      clearTimeout(timer)
      if (!over) count(member, -1)
      over = true
    }
    const timer = setTimeout(() => {
      end()
      answered++
      res.writeHead(200, { 'content-type': 'application/json', 'request-id': 'req_ledger' })
      res.end(ANSWER)
    }, of.serviceMs())
    req.resume()
    res.once('close', end)
  }
  const server = createServer(serve)
  server.keepAliveTimeout = 60_000
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return {
    ...{ starts, excesses },
    urlOf: (member) => `http://127.0.0.1:${port}/${member}`,
    inflight: () => inflight,
    most: () => most,
    answered: () => answered,
    async close() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}
