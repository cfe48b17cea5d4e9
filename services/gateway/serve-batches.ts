/** `/v1/messages/batches`: the Message Batches API, over the jobs of the tenant that asks. What is kept and done is
 *  asked over the bus, like everything. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import {
  batchList,
  batchOpened,
  LIST_DEFAULT,
  resultsHead,
  type BatchOp,
  type ResultsFrom,
} from '#contracts/batches'
import type { ConfigFile } from '#contracts/config'
import { isToken } from '#contracts/ids'
import { firstIssue, refusal, type Refusal } from '#contracts/messages'
import { HeadgateError, type Headgate } from '#client'
import { errorAnswer, invalid, refusalAnswer, type HttpAnswer } from './answer.ts'
import { passedOn, readCall } from './call-headers.ts'
import { foreignLane } from './serve-messages.ts'
import { receive } from './receive-batch.ts'
import { BodyFault } from './batch-reader.ts'

const LIST = '/v1/messages/batches'
const ONE = `${LIST}/:id`
const CANCEL = `${ONE}/cancel`
const RESULTS = `${ONE}/results`
export const BATCH_PATHS = [LIST, ONE, CANCEL, RESULTS]

/** The lane of a batch that names none. */
const LANE_DEFAULT = 'batch'

export interface BatchesDoor {
  clientOf: (request: FastifyRequest) => Headgate
  tenantOf: (request: FastifyRequest) => string
  lanesOf: (tenant: string) => readonly string[] | null
  settings: () => ConfigFile['gateway']
  /** Of the batches that are being received, the most that one tenant may have, 0 to 1. */
  tenantShare: () => number
  /** Whether the door itself speaks HTTPS. */
  secure: boolean
  newId: () => string
  send: (reply: FastifyReply, answer: HttpAnswer) => FastifyReply
}

type WithId = FastifyRequest<{ Params: { id: string } }>

export function serveBatches(scope: FastifyInstance, of: BatchesDoor): void {
  scope.addContentTypeParser('*', (_request, body, done) => done(null, body))
  const receivers = receiving(of)

  scope.post(LIST, (request, reply) =>
    answering(of, reply, async () => {
      const leave = receivers.enter(of.tenantOf(request))
      try {
        return shown(of, request, await create(of, request, reply))
      } finally {
        leave()
      }
    }),
  )
  scope.get(LIST, (request, reply) => answering(of, reply, () => list(of, request)))
  scope.get(ONE, (request: WithId, reply) =>
    answering(of, reply, async () => shown(of, request, await ask(of, 'get', request))),
  )
  scope.post(CANCEL, (request: WithId, reply) =>
    answering(of, reply, async () => shown(of, request, await ask(of, 'cancel', request))),
  )
  scope.delete(ONE, (request: WithId, reply) =>
    answering(of, reply, async () => jsonOf(await ask(of, 'delete', request))),
  )
  scope.get(RESULTS, (request: WithId, reply) =>
    answering(of, reply, async () => lines(of, request)),
  )
}

/** Thrown and caught here. */
class Refused extends Error {
  readonly refusal: Refusal
  constructor(said: Refusal) {
    super(said.code)
    this.refusal = said
  }
}

type Said = object | ReadableStream

async function answering(
  of: BatchesDoor,
  reply: FastifyReply,
  act: () => Promise<Said>,
): Promise<FastifyReply> {
  const id = of.newId()
  try {
    const said = await act()
    const ids = { 'request-id': id, 'headgate-id': id }
    if (said instanceof ReadableStream)
      return reply.headers({ ...ids, 'content-type': 'application/x-jsonl' }).send(said)
    const headers = { ...ids, 'content-type': 'application/json' }
    return of.send(reply, { status: 200, headers, body: JSON.stringify(said) })
  } catch (error) {
    if (reply.raw.destroyed) return reply.hijack()
    if (error instanceof Refused) return of.send(reply, refusalAnswer(error.refusal, id))
    if (error instanceof BodyFault) return of.send(reply, refusalAnswer(wrongBody(error), id))
    if (error instanceof HeadgateError) return of.send(reply, errorAnswer(error, id))
    throw error
  }
}

const wrongBody = ({ message, tooLarge }: BodyFault): Refusal =>
  tooLarge ? refusal('payload_too_large', message) : invalid(message)

// ---- in ----

async function create(
  of: BatchesDoor,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<Uint8Array> {
  const read = readCall(request.headers)
  if (!read.ok) throw new Refused(read.refusal)
  const { lane = LANE_DEFAULT } = read.options
  const foreign = foreignLane(of.lanesOf(of.tenantOf(request)), lane)
  if (foreign !== null) throw new Refused(foreign)
  const bytesMax = of.settings().batch_bytes
  const announced = Number(request.headers['content-length'] ?? 0)
  const tooLarge = () => {
    // What is still to come is not waited for.
    reply.raw.shouldKeepAlive = false
    return new BodyFault(`the body is over ${bytesMax} bytes (gateway.batch_bytes)`, true)
  }
  if (announced > bytesMax) throw tooLarge()
  const client = of.clientOf(request)
  const headers = passedOn(request.headers)
  const opened = batchOpened.parse(
    jsonOf(await client.batch('open', JSON.stringify({ lane }), { headers })),
  )
  try {
    // Who is refused in the middle still hears why.
    const body = request.raw.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>
    return await receive({ client, opened, body, bytesMax })
  } catch (error) {
    void client.batch('drop', JSON.stringify({ id: opened.id })).catch(() => {})
    if (!request.raw.complete) throw error instanceof BodyFault ? tooLarge() : error
    throw error
  }
}

/** How many are received at once, and of one tenant. */
function receiving(of: BatchesDoor): { enter(tenant: string): () => void } {
  const own = new Map<string, number>()
  let all = 0
  return {
    enter(tenant) {
      const most = of.settings().batches_receiving_max
      const held = own.get(tenant) ?? 0
      if (all >= most || held >= Math.ceil(most * of.tenantShare()))
        throw new Refused(
          refusal(
            'queue_full',
            'as many batches are being received as may be (gateway.batches_receiving_max)',
          ),
        )
      all += 1
      own.set(tenant, held + 1)
      return () => {
        all -= 1
        const left = (own.get(tenant) ?? 1) - 1
        if (left === 0) own.delete(tenant)
        else own.set(tenant, left)
      }
    },
  }
}

// ---- out ----

function ask(of: BatchesDoor, op: BatchOp, request: WithId): Promise<Uint8Array> {
  return of.clientOf(request).batch(op, JSON.stringify({ id: idOf(request) }))
}

function idOf({ params: { id } }: WithId): string {
  if (isToken(id)) return id
  throw new Refused(refusal('unknown_id', 'no batch of this tenant has this id'))
}

async function list(of: BatchesDoor, request: FastifyRequest): Promise<object> {
  const { limit, before_id, after_id } = request.query as Record<string, unknown>
  const asked = batchList.safeParse({
    limit: limit === undefined ? LIST_DEFAULT : Number(limit),
    before_id,
    after_id,
  })
  if (!asked.success) throw new Refused(invalid(firstIssue(asked.error)))
  const said = jsonOf(await of.clientOf(request).batch('list', JSON.stringify(asked.data)))
  const { data, has_more } = said as { data: ShownBatch[]; has_more: boolean }
  return {
    data: data.map((batch) => withAddress(of, request, batch)),
    has_more,
    first_id: data[0]?.id ?? null,
    last_id: data.at(-1)?.id ?? null,
  }
}

interface ShownBatch {
  id: string
  processing_status: string
  archived_at: string | null
}

const shown = (of: BatchesDoor, request: FastifyRequest, bytes: Uint8Array): object =>
  withAddress(of, request, jsonOf(bytes) as ShownBatch)

/** Where its results are, as whoever asks would say it. */
function withAddress(of: BatchesDoor, request: FastifyRequest, batch: ShownBatch): object {
  const { id, processing_status: status, archived_at: archived } = batch
  if (status !== 'ended' || archived !== null) return batch
  const { host, 'x-forwarded-proto': proxied } = request.headers
  const scheme = of.secure || proxied === 'https' ? 'https' : 'http'
  const origin = host === undefined ? '' : `${scheme}://${host}`
  return { ...batch, results_url: `${origin}${LIST}/${id}/results` }
}

/** A page at a time, as fast as they are read. */
async function lines(of: BatchesDoor, request: WithId): Promise<ReadableStream> {
  const client = of.clientOf(request)
  const id = idOf(request)
  const page = async (from: ResultsFrom) =>
    pageOf(await client.batch('results', JSON.stringify({ id, from })))
  // The first one is asked for before the status leaves.
  let next: ResultsFrom | null = { result: 0, told: 0 }
  let known: Page | null = await page(next)
  return new ReadableStream(
    {
      async pull(to) {
        while (next !== null) {
          const got: Page = known ?? (await page(next))
          known = null
          next = got.next
          if (got.lines.length > 0) return to.enqueue(got.lines)
        }
        to.close()
      },
    },
    { highWaterMark: 1 },
  )
}

interface Page {
  next: ResultsFrom | null
  lines: Uint8Array
}

function pageOf(bytes: Uint8Array): Page {
  const end = bytes.indexOf(LF)
  const { next } = resultsHead.parse(jsonOf(bytes.subarray(0, end)))
  return { next, lines: bytes.subarray(end + 1) }
}
const LF = 10

const jsonOf = (bytes: Uint8Array): object => JSON.parse(new TextDecoder().decode(bytes)) as object
