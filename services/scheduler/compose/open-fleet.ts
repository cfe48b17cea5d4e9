/** Whether this instance divides its limits with others, and where: asked once, at the start. */
import { readFileSync } from 'node:fs'
import { hostname } from 'node:os'
import type { ConfigFile } from '#contracts/config'
import { storeNames } from '#contracts/store-names'
import type { Clock, FleetStore } from '#ports'
import {
  keepsNothing,
  natsFleetStore,
  type NatsFleetStoreOptions,
} from '#scheduler/nats/fleet-store'

/** Null with the reason: it works alone and has the whole of every limit. */
export async function openFleet(of: {
  file: ConfigFile
  /** Null: there is no server. */
  connection: NatsFleetStoreOptions['connection'] | null
  clock: Clock
}): Promise<{ store: FleetStore; reason: null } | { store: null; reason: string }> {
  const { file, connection, clock } = of
  if (!file.fleet.enabled) return { store: null, reason: 'fleet.enabled is false' }
  if (connection === null) return { store: null, reason: 'there is no NATS server' }
  const options = {
    ...{ connection, clock, replicas: file.jobs.replicas },
    bucket: storeNames(file.subject_prefix).fleet,
  }
  const nothing = await keepsNothing(options)
  if (nothing !== null) return { store: null, reason: nothing }
  return { store: natsFleetStore(options), reason: null }
}

/** The same for each process that listens there, one after the other: whoever has the port proves that the one before
 *  it is gone. Null: nothing proves that, and the instance's own id must do. */
export function placeOf(port: number | null): string | null {
  if (port === null || port === 0) return null
  return `${hostname()}-${bootOf()}-${port}`.replaceAll(/[^A-Za-z0-9_-]/g, '_').slice(-64)
}

/** Hosts of one name are told apart by their start; where that is not known the name must do. */
function bootOf(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').slice(0, 8)
  } catch {
    return '0'
  }
}
