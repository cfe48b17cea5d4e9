/** The room of message batches, put together with the jobs that their entries become. */
import { makeId } from '#contracts/ids'
import { HEADER } from '#contracts/messages'
import type { Subjects } from '#contracts/subjects'
import type { Batches, BatchStore, Bus, Clock, Dice, JobNews, Jobs, MessageBatchNews } from '#ports'
import { batchDesk } from '#scheduler/batches/desk'
import { BatchWork, type BatchWorkOptions } from '#scheduler/batches/work'
import type { Loop } from '#scheduler/loop/loop'
import { parseRequest } from '#scheduler/nats/request-parse'

export interface WiredBatches {
  readonly work: BatchWork
  readonly desk: Batches
}

export function wireBatches(of: {
  store: BatchStore
  jobs: Jobs
  loop: Loop
  bus: Bus
  subjects: Subjects
  clock: Clock
  dice: Dice
  instance: string
  news: (news: JobNews) => void
}): WiredBatches {
  const { loop, bus, subjects, dice } = of
  const file = () => loop.state.config.file
  const onError = (error: unknown): void => of.news({ kind: 'store_error', job: null, error })
  const parts = {
    ...{ ...of, scheduler: loop, onError },
    news: (news: MessageBatchNews) => of.news({ kind: 'message_batch', job: null, ...news }),
  }
  const work = new BatchWork({
    ...parts,
    read: (entry) => jobOf(entry, file().limits),
    cancelElsewhere: (tenant, id) => bus.publish(subjects.cancel(tenant, id), ''),
    receiveMs: () => file().batches.receive_ms,
  })
  const desk = batchDesk({
    ...parts,
    work,
    chance: () => makeId(() => dice.next()).slice('r_'.length),
    timeoutOf: (lane) => loop.state.lanesByName.get(lane)?.config.timeoutMs ?? null,
    limits() {
      const { batches, limits, results } = file()
      return {
        entriesMax: batches.entries_max,
        tenantMax: batches.tenant_max,
        requestBytes: limits.request_bytes,
        resultsAgeMs: results.max_age * 1_000,
      }
    },
  })
  return { work, desk }
}

/** An entry's `params`, read as a job's body is. */
function jobOf(
  { batch, id, body, deadlineMs }: Parameters<BatchWorkOptions['read']>[0],
  limits: { request_bytes: number; json_depth: number; json_values: number },
): ReturnType<BatchWorkOptions['read']> {
  const said: Readonly<Record<string, string | undefined>> = {
    [HEADER.version]: batch.headers.version,
    [HEADER.beta]: batch.headers.beta,
  }
  const parsed = parseRequest({
    message: { data: body, header: (name) => said[name], names: () => [] },
    makeId: () => id,
    bytesMax: limits.request_bytes,
    scan: { depthMax: limits.json_depth, valuesMax: limits.json_values },
    as: 'job',
  })
  if (!parsed.ok) return { refused: parsed.refusal }
  const { ok: _, job: __, ...request } = parsed
  const { tenant, lane, degrade, maxAttempts } = batch
  return {
    ...request,
    ...{ tenant, lane, id, deadlineMs, degrade, maxAttempts },
    ...{ named: true, notBeforeMs: 0, group: batch.id },
  }
}
