/** `POST /v1/messages`: who asks for what, and what is known of it from a moment ago. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { ConfigFile } from '#contracts/config'
import { errorBody, HEADER, refusal, type Refusal } from '#contracts/messages'
import type { CallOptions, Headgate } from '#client'
import { refusalAnswer, type HttpAnswer } from './answer.ts'
import {
  ANSWER_GRACE_MS,
  deadlineOf,
  LANE_DEFAULT,
  mayDefer,
  ownDeadlineOf,
  readCall,
  streamsAgain,
} from './call-headers.ts'
import { finalRefusals, type FinalRefusals, type Known } from './final-refusals.ts'
import { MessagesCall, type CallEars } from './messages-call.ts'
import { Place, places, type Places } from './places.ts'
import type { Readers } from './readers.ts'
import { sameCall, shownBy, type SameCall } from './same-call.ts'

export interface MessagesDoor {
  client: Headgate
  settings: () => ConfigFile['gateway']
  lanesOf: (tenant: string) => readonly string[] | null
  timeoutOf?: (lane: string) => number | null
  readers: Readers
  system: { now(): number; after(ms: number, call: () => void): () => void }
  tenantOf: (request: FastifyRequest) => string
  bodyOf: (request: FastifyRequest) => Uint8Array
  newId: () => string
  send: (reply: FastifyReply, answer: HttpAnswer) => FastifyReply
}

/** Answers; what it gives closes what is kept for later. */
export function serveMessages(scope: FastifyInstance, of: MessagesDoor): () => void {
  const kept = places({
    limits: () => ({ keepMs: of.settings().place_ms, most: of.settings().places_max }),
    after: of.system.after,
    readers: of.readers,
  })
  const refusals = finalRefusals({
    limits: () => ({ keepMs: of.settings().refused_ms, most: of.settings().refused_max }),
    system: of.system,
  })
  const refuse = (reply: FastifyReply, refused: Refusal, attempts = 0) => {
    const id = of.newId()
    const { status, headers } = refusalAnswer(refused, id)
    const body = errorBody({ refusal: refused, requestId: id, attempts })
    return of.send(reply, { status, headers, body })
  }

  scope.post('/v1/messages', (request, reply) => {
    const read = readCall(request.headers)
    if (!read.ok) return refuse(reply, read.refusal)
    const tenant = of.tenantOf(request)
    const { lane = LANE_DEFAULT, id } = read.options
    const foreign = foreignLane(of.lanesOf(tenant), lane)
    if (foreign !== null) return refuse(reply, foreign)
    const body = of.bodyOf(request)
    const call = sameCall({
      tenant,
      shown: shownBy(request.headers),
      options: read.options,
      body,
    })
    const known = refusals.recall(call)
    if (known !== null && 'refused' in known) return refuse(reply, known.refused, known.attempts)
    const laneMs = of.timeoutOf?.(lane) ?? null
    const time = timeOf(request.headers, { known, laneMs })
    const client = of.client.as(tenant)
    const options = { ...within(read.options, time), laneMs: laneMs ?? undefined }
    reply.hijack()
    const answering = new MessagesCall({
      to: reply.raw,
      readers: of.readers,
      deadlineMs: time.ownMs,
      earlyMs: of.settings().early_status_ms,
      streamsAgain: streamsAgain(request.headers),
      mayDefer: mayDefer(request.headers),
      ears: earsOf({ call, client, time, kept, refusals }),
      system: of.system,
    })
    answering.take((sink) => {
      const back = kept.back(call)
      if (back === null && id !== undefined) kept.release(tenant, id)
      if (back === null) return new Place((to) => client.relay(body, to, options), sink)
      back.takenBy(sink)
      return back
    })
  })
  return () => {
    kept.close()
    refusals.close()
  }
}

function earsOf(of: {
  call: SameCall
  client: Headgate
  time: CallTime
  kept: Places
  refusals: FinalRefusals
}): CallEars {
  const { call, time, refusals } = of
  return {
    served({ servedBy, model }) {
      if (servedBy === 'upstream') refusals.served(model)
    },
    refused: (error, { headers }) =>
      refusals.remember(call, {
        error,
        final: headers['x-should-retry'] === 'false',
        deadlineMs: time.deadlineMs,
        own: time.ownMs !== null,
      }),
    deserted: (place) => of.kept.keep(place, call, () => runs(of.client, place.id)),
  }
}

/** Whether it holds a slot; what is not known is not kept either. */
async function runs(client: Headgate, id: string): Promise<boolean> {
  try {
    return RUNS.includes((await client.status(id)).state)
  } catch {
    return true
  }
}
/** Where a request holds a slot. */
const RUNS: readonly string[] = ['running', 'forwarding', 'aborting']

export const foreignLane = (lanes: readonly string[] | null, lane: string): Refusal | null =>
  lanes === null || lanes.includes(lane)
    ? null
    : refusal('forbidden', `the tenant may use ${lanes.join(', ')} only`)

/** How long a call may take, in all: what its caller itself says, or what is left of that; else its lane's. */
interface CallTime {
  ownMs: number | null
  deadlineMs: number
  /** It goes on with what is left. */
  goesOn: boolean
}

function timeOf(
  headers: FastifyRequest['headers'],
  of: { known: Known | null; laneMs: number | null },
): CallTime {
  const said = ownDeadlineOf(headers)
  const left = of.known !== null && 'leftMs' in of.known ? of.known.leftMs : Infinity
  const ownMs = said === null ? null : Math.min(said, left)
  return { ownMs, deadlineMs: ownMs ?? deadlineOf(headers, of.laneMs), goesOn: ownMs !== said }
}

/** What goes on over the bus. */
function within(options: CallOptions, time: CallTime): CallOptions & { endWithinMs: number } {
  const endWithinMs = time.deadlineMs + ANSWER_GRACE_MS
  if (!time.goesOn) return { ...options, endWithinMs }
  const headers = { ...options.headers, [HEADER.deadline]: String(time.ownMs) }
  return { ...options, headers, endWithinMs }
}
