/** The HTTP door in the scheduler's process, with a bus between them that never leaves it: the door asks as
 *  everybody does, and nothing it carries crosses a socket twice. */
import { createHash } from 'node:crypto'
import type { ConfigFile } from '#contracts/config'
import { connectDoor, startGateway, type Gateway } from '#gateway'
import type { Bus, Clock, Dice } from '#ports'

export interface GatewayAddress {
  host: string
  port: number
  tls: { cert: string; key: string } | null
}

export async function wireGateway(
  of: GatewayAddress & {
    bus: Bus
    file: () => ConfigFile
    /** The default deadline of a lane, in ms; null: there is none. */
    timeoutOf?: (lane: string) => number | null
    /** sha256 in hex of each key, to the tenant that holds it. */
    keys: () => ReadonlyMap<string, string>
    ready: () => readonly string[]
    clock: Clock
    dice: Dice
    onFault: (error: Error) => void
  },
): Promise<Gateway> {
  const { bus, clock, dice } = of
  const file = of.file()
  const system = {
    now: () => clock.now(),
    after: (ms: number, call: () => void) => clock.after(ms, call),
    random: () => dice.next(),
  }
  const client = await connectDoor(file, { bus, system })
  const gateway = await startGateway({
    ...of,
    client,
    keyless: () => of.keys().size === 0,
    tenantOf: (key) => of.keys().get(createHash('sha256').update(key).digest('hex')) ?? null,
    // The scheduler is here to say so, and to record it.
    lanesOf: () => null,
    settings: () => of.file().gateway,
    requestBytesMax: file.limits.request_bytes,
    requestBytesBy: 'limits.request_bytes',
    system,
  })
  return {
    url: gateway.url,
    get unreadBytes() {
      return gateway.unreadBytes
    },
    close: () => gateway.close().then(() => client.close()),
  }
}
