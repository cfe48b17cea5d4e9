/** A TCP port that nobody listens on. */
import { createServer } from 'node:net'

const TRIED_MAX = 100

/** `from`, or the next one that is free. */
export async function freePort(of: { from: number; host: string }): Promise<number> {
  for (let port = of.from; port < of.from + TRIED_MAX; port++)
    if (await isFree({ port, host: of.host })) return port
  throw new Error(`no free port from ${of.from} to ${of.from + TRIED_MAX - 1}`)
}

export function isFree(at: { port: number; host: string }): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createServer()
    probe.once('error', () => resolve(false))
    probe.listen({ ...at, exclusive: true }, () => probe.close(() => resolve(true)))
  })
}
