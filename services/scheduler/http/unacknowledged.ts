/** How much of what was written to a connection its other side has not acknowledged. Node knows only what the
 *  kernel has not taken, and the kernel takes megabytes for a reader that reads nothing. Linux tells the rest,
 *  in `/proc/net/tcp`; elsewhere what Node knows has to do.
 *  Cost: one read of that table (150 bytes a connection of this host) per look, and one pass over its text. */
import { readFile } from 'node:fs/promises'
import type { FastifyReply } from 'fastify'

type Socket = FastifyReply['request']['raw']['socket']

export interface Unacknowledged {
  /** Bytes, at the last look; before the first what Node knows. */
  of(socket: Socket): number
  /** Looks again, in the background; does nothing while it looks. */
  look(): void
}

const TABLES = ['/proc/net/tcp', '/proc/net/tcp6']
/** local address, remote address, state, bytes sent and not acknowledged. */
const ROW = /^ *\d+: [0-9A-F]+:([0-9A-F]{4}) [0-9A-F]+:([0-9A-F]{4}) [0-9A-F]{2} ([0-9A-F]{8}):/gm

export function unacknowledged(
  read: (path: string) => Promise<string> = (path) => readFile(path, 'latin1'),
): Unacknowledged {
  /** By both ports; of two readers at equal ports of two hosts the one that owes less. */
  let queued: ReadonlyMap<string, number> = new Map()
  let looking = false

  const lookNow = async (): Promise<void> => {
    const found = new Map<string, number>()
    for (const text of await Promise.all(TABLES.map((path) => read(path).catch(() => ''))))
      for (const [, local = '', remote = '', bytes = ''] of text.matchAll(ROW)) {
        const key = keyOf(parseInt(local, 16), parseInt(remote, 16))
        found.set(key, Math.min(parseInt(bytes, 16), found.get(key) ?? Infinity))
      }
    queued = found
  }

  return {
    of: ({ localPort, remotePort, writableLength }) =>
      writableLength + (queued.get(keyOf(localPort ?? 0, remotePort ?? 0)) ?? 0),
    look() {
      if (looking) return
      looking = true
      void lookNow().finally(() => (looking = false))
    },
  }
}

const keyOf = (local: number, remote: number): string => `${local} ${remote}`
