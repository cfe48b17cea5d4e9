/** The results of a batch as lines, in the order in which its entries ended, a page at a time. After those that are
 *  stored come the entries that have none: a batch that was cancelled before they were jobs, or a result that is older
 *  than results are kept. So each entry has one line. */
import {
  entryJob,
  entryOfJob,
  PAGE_BYTES,
  PAGE_ENTRIES_MAX,
  type Batch,
  type ResultsFrom,
} from '#contracts/batches'
import { errorBody, refusal } from '#contracts/messages'
import type { BatchStore, GroupResult, Jobs } from '#ports'
import { readNames } from './pages.ts'
import { endOf } from './records.ts'

export async function resultsPage(
  of: { store: BatchStore; jobs: Jobs },
  batch: Batch,
  from: ResultsFrom,
): Promise<Uint8Array> {
  const { lines, next } =
    'result' in from ? await stored(of, batch, from) : await without(of, batch, from)
  return Buffer.concat([Buffer.from(`${JSON.stringify({ next })}\n`), ...lines])
}

interface Lines {
  lines: Uint8Array[]
  next: ResultsFrom | null
}

async function stored(
  { store }: { store: BatchStore },
  batch: Batch,
  { result, told }: { result: number; told: number },
): Promise<Lines> {
  const most = { count: PAGE_ENTRIES_MAX, bytes: PAGE_BYTES }
  const found = await store.results(batch, result, most)
  const nameOf = names(store, batch)
  const lines: Uint8Array[] = []
  let bytes = 0
  let next: ResultsFrom = { result, told }
  for (const one of found) {
    const name = await nameOf(one.id)
    const line = lineOf(name ?? '', one)
    // The bus takes no more; the rest is asked for again.
    if (lines.length > 0 && bytes + line.length > PAGE_BYTES) return { lines, next }
    if (name !== null) lines.push(line)
    bytes += line.length
    next = { result: one.seq + 1, told: next.told + (name === null ? 0 : 1) }
  }
  if (found.length > 0) return { lines, next }
  if (told >= batch.entries) return { lines, next: null }
  const lost = told < batch.fedEntries
  return { lines, next: { page: lost ? 0 : batch.fed, lost } }
}

async function without(
  { store, jobs }: { store: BatchStore; jobs: Jobs },
  batch: Batch,
  { page, lost }: { page: number; lost: boolean },
): Promise<Lines> {
  if (page >= batch.pages) return { lines: [], next: null }
  const { tenant, id } = batch
  const all = readNames(await store.page({ tenant, id, kind: 'names', page }))
  const lines: Uint8Array[] = []
  for (const [entry, name] of all.entries()) {
    const job = entryJob(id, page, entry)
    if (page >= batch.fed) lines.push(line(name, '{"type":"canceled"}'))
    else if (lost && (await jobs.fetch(tenant, job, 0)) === null)
      lines.push(line(name, goneOf(job)))
  }
  return { lines, next: { page: page + 1, lost } }
}

/** Names of entries by their jobs; a page of them is read once. */
function names(store: BatchStore, { tenant, id }: Batch): (job: string) => Promise<string | null> {
  const pages = new Map<number, string[]>()
  return async (job) => {
    const place = entryOfJob(id, job)
    if (place === null) return null
    const { page, entry } = place
    const known =
      pages.get(page) ?? readNames(await store.page({ tenant, id, kind: 'names', page }))
    pages.set(page, known)
    return known[entry] ?? null
  }
}

function lineOf(name: string, { headers, body }: GroupResult): Uint8Array {
  const end = endOf(headers)
  if (end === 'canceled' || end === 'expired') return line(name, `{"type":"${end}"}`)
  const what = end === 'succeeded' ? 'message' : 'error'
  return Buffer.concat([
    Buffer.from(`{"custom_id":"${name}","result":{"type":"${end}","${what}":`),
    oneLine(body),
    Buffer.from('}}\n'),
  ])
}

/** A name is a token: nothing in it needs an escape. */
const line = (name: string, result: string): Uint8Array =>
  Buffer.from(`{"custom_id":"${name}","result":${result}}\n`)

const LF = 10
const CR = 13
const SPACE = 32

/** In JSON a line break is a space, since one inside a text is escaped. */
function oneLine(json: Uint8Array): Uint8Array {
  if (!json.includes(LF) && !json.includes(CR)) return json
  return json.map((byte) => (byte === LF || byte === CR ? SPACE : byte))
}

const GONE = refusal('unknown_id', 'the result is gone: it was older than results.max_age')
const goneOf = (job: string): string =>
  `{"type":"errored","error":${errorBody({ refusal: GONE, requestId: job, attempts: 0 })}}`
