/** `count_tokens` and `models`: the upstream's own answer, outside lanes and slots. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { HEADER } from '#contracts/messages'
import type { AuxKind } from '#contracts/subjects'
import { HeadgateError, type Headgate } from '#client'
import { errorAnswer, wholeAnswer, type HttpAnswer } from './answer.ts'
import { ANSWER_GRACE_MS, deadlineOf, passedOn } from './call-headers.ts'

export function askAux(
  scope: FastifyInstance,
  of: {
    clientOf: (request: FastifyRequest) => Headgate
    bodyOf: (request: FastifyRequest) => Uint8Array
    newId: () => string
    send: (reply: FastifyReply, answer: HttpAnswer) => FastifyReply
  },
): void {
  const ask = async (
    kind: AuxKind,
    body: Uint8Array | string,
    request: FastifyRequest,
    reply: FastifyReply,
  ) => {
    const leaving = new AbortController()
    reply.raw.once('close', () => leaving.abort())
    const id = of.newId()
    const headers = { ...passedOn(request.headers), [HEADER.id]: id }
    try {
      const said = await of.clientOf(request).aux(kind, body, {
        headers,
        signal: leaving.signal,
        ...endOf(request),
      })
      return of.send(reply, wholeAnswer(said.bytes, said.accounting, id))
    } catch (error) {
      if (leaving.signal.aborted) return reply.hijack()
      if (!(error instanceof HeadgateError)) throw error
      return of.send(reply, errorAnswer(error, id))
    }
  }
  scope.post('/v1/messages/count_tokens', (request, reply) =>
    ask('count_tokens', of.bodyOf(request), request, reply),
  )
  scope.get('/v1/models', (request, reply) =>
    ask('models', JSON.stringify(request.query), request, reply),
  )
  scope.get<{ Params: { id: string } }>('/v1/models/:id', (request, reply) =>
    ask('models', JSON.stringify({ id: request.params.id }), request, reply),
  )
}

/** The door's own patience, where it is less than the client's: the caller is answered whatever happens. */
function endOf({ headers }: FastifyRequest): { waitMs?: number } {
  const endMs = deadlineOf(headers, null) + ANSWER_GRACE_MS
  return endMs < ANSWER_MAX_MS ? { waitMs: endMs } : {}
}

/** Longer than a call outside lanes may take. */
const ANSWER_MAX_MS = 65_000
