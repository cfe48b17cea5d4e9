/** The API's endpoints: from a request to an answer that is being delivered and entered in the ledger. */
import { createHash } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Millis } from '#contracts/units'
import { plainAnswer, type Answer } from './answer.ts'
import { edgePage, invalid, type ApiError } from './api-error.ts'
import { createBatches, type Batches, type EntryRun } from './batches.ts'
import { decide, drawOf, overQuota, withFaults, type World } from './behaviour.ts'
import { diceOf, makeId, type Dice } from './chance.ts'
import { deliver } from './delivery.ts'
import { createFaultSchedule, type Target } from './fault-schedule.ts'
import { errorAnswer } from './faulty-answer.ts'
import { endpointOf, headerOf, keyOf, ruleBroken } from './http-rules.ts'
import type { FaultPath } from './faults.ts'
import { createLedger, type Ledger, type LedgerEntry } from './ledger.ts'
import { modelPage, modelsPage } from './models.ts'
import type { Settings } from './options.ts'
import { isOrder, readCount, readOrder, type Order } from './order.ts'
import { quotaHeaders } from './quota-headers.ts'
import { createQuota, type Draw } from './quota.ts'

/** A request, read whole; `body` is null when it was too long to read. */
export interface Exchange {
  req: IncomingMessage
  res: ServerResponse
  path: string
  search: string
  body: Buffer | null
}

export interface Api {
  world: World
  ledger: Ledger
  counts: { requests: number; peak: number; byStatus: Map<number, number> }
  batches: Batches
  serve(exchange: Exchange): void
}

/** What the endpoints share. */
type House = Omit<Api, 'serve'>

/** A request on its way through an endpoint. */
interface Visit {
  req: IncomingMessage
  res: ServerResponse
  path: string
  search: string
  body: Buffer
  ordinal: number
  requestId: string
  dice: Dice
  arrivedAt: Millis
  /** Hash prefix of the API key; null without one. */
  key: string | null
}

export function createApi(settings: Settings): Api {
  const ledger = createLedger(settings.ledgerMax)
  const batches = createBatches(settings, (run) => ledger.add(entryOfRun(run)))
  const house: House = {
    world: {
      settings,
      quota: createQuota(),
      faults: createFaultSchedule(),
      capacity: settings.capacity,
      limits: new Map([['', settings.limits]]),
      inFlight: 0,
    },
    ledger: {
      ...ledger,
      read(since) {
        batches.catchUp(settings.clock.now())
        return ledger.read(since)
      },
    },
    counts: { requests: 0, peak: 0, byStatus: new Map() },
    batches,
  }
  const hash = keyHasher()
  return {
    ...house,
    serve({ req, res, path, search, body }) {
      const ordinal = ++house.counts.requests
      const dice = diceOf(settings.seed, ordinal)
      const requestId = makeId('req_01', ordinal, dice)
      const arrivedAt = settings.clock.now()
      const key = hash(keyOf(req))
      const read = body ?? NO_BODY
      const visit: Visit = {
        ...{ req, res, path, search, body: read },
        ...{ ordinal, requestId, dice, arrivedAt, key },
      }
      if (body === null) {
        res.shouldKeepAlive = false
        return send(house, visit, TOO_LARGE)
      }
      route(house, visit)
    },
  }
}

function route(house: House, visit: Visit): void {
  const endpoint = endpointOf(visit.path)
  if (endpoint === null) return refuse(house, visit, invalid('Not found', 404))
  const broken = ruleBroken(visit.req, endpoint, house.world.settings.keys)
  if (endpoint === 'messages') return serveMessages(house, visit, broken)
  if (broken !== null) return refuse(house, visit, broken)
  if (endpoint === 'count_tokens') return serveCount(house, visit)
  if (endpoint === 'models') return serveModels(house, visit)
  serveBatches(house, visit)
}

function serveMessages(house: House, visit: Visit, broken: ApiError | null): void {
  const { world, ledger, counts } = house
  const version = headerOf(visit.req, 'anthropic-version') ?? ''
  const order = broken ?? readOrder(visit.body, version)
  if (!isOrder(order)) {
    ledger.add(entryOf(visit, null, errorAnswer(order, visit.requestId)))
    return refuse(house, visit, order)
  }
  world.inFlight++
  if (world.inFlight > counts.peak) counts.peak = world.inFlight
  const { ordinal, requestId, arrivedAt, dice } = visit
  const call = { order, key: visit.key ?? '', ordinal, requestId }
  const { answer, draw } = decide(world, call, arrivedAt, dice)
  const entry = entryOf(visit, order, answer)
  ledger.add(entry)
  play(house, visit, { answer, draw, entry })
}

/** Delivers an answer of the model; its output is charged as it comes. */
function play(
  house: House,
  visit: Visit,
  turn: { answer: Answer; draw: Draw; entry: LedgerEntry },
): void {
  const { world } = house
  const { answer, draw, entry } = turn
  const { work } = answer
  const { clock } = world.settings
  if (work !== null) entry.billed.input = work.input
  const progress = (elapsed: Millis): void => {
    if (work === null) return
    const output = work.outputBy(elapsed) - entry.billed.output
    if (output <= 0) return
    entry.billed.output += output
    world.quota.charge({ ...draw, now: clock.now() }, { input: 0, output })
  }
  deliver(visit.res, answer, visit.arrivedAt, {
    ...stage(house, visit),
    onProgress: progress,
    onStatus(status) {
      entry.status = status
      count(house, status)
    },
    onEnd(how, elapsed) {
      world.inFlight--
      progress(how === 'finished' ? Infinity : elapsed)
      entry.endedAt = clock.now()
      entry.finished = how === 'finished'
      entry.aborted = how !== 'finished'
    },
  })
}

function serveCount(house: House, visit: Visit): void {
  const read = readCount(visit.body)
  if ('status' in read) return refuse(house, visit, read)
  const target: Target = { path: 'count_tokens', model: read.model, stream: false }
  serveFree(house, visit, target, () => {
    const { world } = house
    const call = { quotaClass: read.quotaClass, key: visit.key ?? '' }
    const admission = world.quota.admit(drawOf(world, target, call, visit.arrivedAt))
    const { requestId } = visit
    if (!admission.ok) return overQuota(admission, { requestId, model: read.model, fast: false })
    const text = `{"input_tokens":${read.input}}`
    return plainAnswer({ status: 200, text, headers: quotaHeaders(admission.standing) })
  })
}

function serveModels(house: House, visit: Visit): void {
  const id = visit.path.slice('/v1/models/'.length)
  const text = id === '' ? modelsPage() : modelPage(id)
  if (text === null) return refuse(house, visit, invalid(`model: ${id.slice(0, 128)}`, 404))
  const target: Target = { path: 'models', model: null, stream: false }
  serveFree(house, visit, target, () => plainAnswer({ status: 200, text }))
}

/** A fault that says that it was executed stands before a call that was carried out: the batch is made, and
 *  nobody hears of it. */
function serveBatches(house: House, visit: Visit): void {
  const { method = '' } = visit.req
  const path = visit.path.slice('/v1/messages/batches'.length)
  const target: Target = { path: batchFaultPath(method, path), model: null, stream: false }
  const { requestId } = visit
  let done = false
  const carryOut = (): Answer => {
    done = true
    const said = house.batches.serve({
      ...{ method, path, search: visit.search, body: visit.body, key: visit.key },
      version: headerOf(visit.req, 'anthropic-version') ?? '',
      now: visit.arrivedAt,
    })
    return 'status' in said ? errorAnswer(said, requestId) : plainAnswer({ status: 200, ...said })
  }
  const hits = house.world.faults.strike(target, visit.arrivedAt, visit.dice)
  const answer = withFaults(hits, { requestId, quotaHeaders: () => [] }, carryOut)
  if (answer.executed && !done) carryOut()
  send(house, visit, answer)
}

function batchFaultPath(method: string, path: string): FaultPath {
  if (path.endsWith('/results')) return 'batch_results'
  return method === 'POST' && (path === '' || path === '/') ? 'batches' : 'batch_look'
}

/** A call that costs nothing: no ledger, no slot; its faults name its path. */
function serveFree(house: House, visit: Visit, target: Target, right: () => Answer): void {
  const voice = { requestId: visit.requestId, quotaHeaders: () => [] }
  const hits = house.world.faults.strike(target, visit.arrivedAt, visit.dice)
  send(house, visit, withFaults(hits, voice, right))
}

const refuse = (house: House, visit: Visit, error: ApiError): void =>
  send(house, visit, errorAnswer(error, visit.requestId))

const send = (house: House, visit: Visit, answer: Answer): void =>
  deliver(visit.res, answer, visit.arrivedAt, {
    ...stage(house, visit),
    onStatus: (status) => count(house, status),
    onEnd() {},
  })

const stage = (house: House, visit: Visit) => ({
  clock: house.world.settings.clock,
  speed: house.world.settings.speed,
  dice: visit.dice,
  common: commonHeaders(visit),
})

const count = ({ counts }: House, status: number): void =>
  void counts.byStatus.set(status, (counts.byStatus.get(status) ?? 0) + 1)

const ORGANIZATION = '5a3e0000-0000-4000-8000-000000000001'

function commonHeaders(visit: Visit): string[] {
  const headers = ['request-id', visit.requestId, 'anthropic-organization-id', ORGANIZATION]
  if (visit.key !== null) headers.push('anthropic-workspace-id', `wrkspc_01${visit.key}`)
  return headers
}

const entryOfRun = (run: EntryRun): LedgerEntry => ({
  n: 0,
  requestId: run.messageId,
  model: run.order.model,
  key: run.key,
  user: run.order.user,
  stream: false,
  ...{ at: run.at, endedAt: run.at },
  ...{ accepted: true, executed: true, finished: true, aborted: false, status: 200, fault: null },
  billed: { input: run.order.input, output: run.output },
  batch: { id: run.batch, customId: run.customId },
})

const entryOf = (visit: Visit, order: Order | null, answer: Answer): LedgerEntry => ({
  n: 0,
  requestId: visit.requestId,
  model: order?.model ?? null,
  key: visit.key,
  user: order?.user ?? null,
  stream: order?.stream ?? false,
  at: visit.arrivedAt,
  endedAt: order === null ? visit.arrivedAt : null,
  accepted: answer.accepted,
  executed: answer.executed,
  finished: order === null,
  aborted: false,
  status: order === null ? answer.status : null,
  fault: answer.fault,
  billed: { input: 0, output: 0 },
  batch: null,
})

/** The edge refuses what the API never sees: no JSON, no request id. */
const TOO_LARGE: Answer = {
  ...plainAnswer({
    status: 413,
    text: edgePage(413, 'Request Entity Too Large'),
    contentType: 'text/html; charset=UTF-8',
  }),
  fromApi: false,
}

/** Keys whose hash is remembered; past it the memory starts afresh. */
const KEYS_MAX = 10_000

function keyHasher(): (key: string) => string | null {
  const hashes = new Map<string, string>()
  return (key) => {
    if (key === '') return null
    let hash = hashes.get(key)
    if (hash === undefined) {
      if (hashes.size >= KEYS_MAX) hashes.clear()
      hash = createHash('sha256').update(key).digest('hex').slice(0, 8)
      hashes.set(key, hash)
    }
    return hash
  }
}

const NO_BODY = Buffer.alloc(0)
