/** Whether this instance divides its limits with others, and where: asked once, at the start. */
import { readFileSync, readlinkSync } from 'node:fs'
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
const bootOf = (): string => textOf('/proc/sys/kernel/random/boot_id')?.slice(0, 8) ?? '0'

/** A process as others on its host can look for it: host, space of process ids, id, start. */
export function processOf(pid: number): string {
  return [hostKey(), pid, startOf(pid) ?? ''].join('|')
}

/** Whether that process has ended: its connections, and so its calls, went with it. False where nobody can know: it is
 *  on another host, or only stands still. */
export function isGone(of: string): boolean {
  const [pid, start] = of.split('|').slice(-2)
  const id = Number(pid)
  if (!of.startsWith(`${hostKey()}|`) || !Number.isInteger(id) || id <= 0) return false
  if (start !== '') return startOf(id) !== start
  try {
    process.kill(id, 0)
    return false
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ESRCH'
  }
}

let host: string | null = null
/** Processes see each other where all of this is the same. */
function hostKey(): string {
  host ??= [hostname(), bootOf(), pidSpace()].map((one) => one.replaceAll('|', '_')).join('|')
  return host
}

function pidSpace(): string {
  try {
    return readlinkSync('/proc/self/ns/pid')
  } catch {
    return ''
  }
}

/** When it started, in the kernel's own ticks; null: it is not there, or has ended and waits for its parent. Without
 *  such a kernel null as well. */
function startOf(pid: number): string | null {
  // What stands in brackets is its name, which may hold anything.
  const fields = textOf(`/proc/${pid}/stat`)?.split(') ').at(-1)?.split(' ') ?? []
  const ended = fields[0] === 'Z' || fields[0] === 'X'
  return ended ? null : (fields[19] ?? null)
}

function textOf(path: string): string | null {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return null
  }
}
