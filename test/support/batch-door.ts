/** The HTTP door beside a scheduler whose jobs and batches are kept by a nats-server. */
import { connect } from '@nats-io/transport-node'
import type { JobsKept } from '../../services/scheduler/compose/open-jobs.ts'
import { openJobs } from '../../services/scheduler/compose/open-jobs.ts'
import { natsBus } from '../../services/scheduler/nats/connection.ts'
import { loadConfig } from '../../services/platform/config/load.ts'
import { systemClock, systemSoon } from '../../services/platform/system.ts'
import { startNatsServer, type NatsServer } from '../../services/cli/nats-server.ts'
import { openDoor, type Door } from './door.ts'

export interface BatchDoor extends Door {
  readonly nats: NatsServer
  readonly kept: JobsKept
}

export async function openBatchDoor(
  options: NonNullable<Parameters<typeof openDoor>[0]> = {},
): Promise<BatchDoor> {
  const { server: nats, reason } = await startNatsServer()
  if (nats === null) throw new Error(reason)
  const parts = { name: 'headgate', egressConnections: 2, clock: systemClock, soon: systemSoon }
  const bus = await natsBus({ servers: nats.url, ...parts })
  const connection = await connect({ servers: nats.url })
  const { file } = loadConfig({ path: null, text: options.yaml ?? '', emergency: false }).config
  const { kept, reason: without } = await openJobs({ file, connection, clock: systemClock })
  if (kept === null) throw new Error(without)
  const door = await openDoor({ ...options, bus, jobs: kept })
  return {
    ...door,
    nats,
    kept,
    async close() {
      await door.close()
      await connection.close()
      await nats.stop()
    },
  }
}
