/** `/v1/headgate/jobs/<id>`: what became of a call that became a job. The API has no such path. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { isToken } from '#contracts/ids'
import { refusal, type Refusal } from '#contracts/messages'
import { HeadgateError, isHeadgateError, type Headgate } from '#client'
import {
  errorAnswer,
  invalid,
  jobPath,
  refusalAnswer,
  wholeAnswer,
  type HttpAnswer,
} from './answer.ts'

export const JOB_PATH = jobPath(':id')

export interface JobsDoor {
  clientOf: (request: FastifyRequest) => Headgate
  /** Longest wait for a job that is not over. */
  waitMaxMs: () => number
  newId: () => string
  send: (reply: FastifyReply, answer: HttpAnswer) => FastifyReply
}

type OfJob = FastifyRequest<{ Params: { id: string }; Querystring: { wait?: unknown } }>

export function serveJobs(scope: FastifyInstance, of: JobsDoor): void {
  const answering = async (
    request: OfJob,
    reply: FastifyReply,
    act: (client: Headgate, signal: AbortSignal) => Promise<HttpAnswer>,
  ): Promise<FastifyReply> => {
    const leaving = new AbortController()
    reply.raw.once('close', () => leaving.abort())
    const no = (said: Refusal) => of.send(reply, refusalAnswer(said, of.newId()))
    if (!isToken(request.params.id)) return no(UNKNOWN)
    if (waitOf(request) === null) return no(invalid('wait: expected seconds, from 0'))
    try {
      return of.send(reply, await act(of.clientOf(request), leaving.signal))
    } catch (error) {
      if (leaving.signal.aborted) return reply.hijack()
      if (!(error instanceof HeadgateError)) throw error
      return of.send(reply, errorAnswer(error, request.params.id))
    }
  }

  scope.get(JOB_PATH, (request: OfJob, reply) =>
    answering(request, reply, async (client, signal) => {
      const { id } = request.params
      const waitMs = Math.min(of.waitMaxMs(), waitOf(request) ?? 0)
      try {
        const { bytes, accounting } = await client.result(id, { waitMs, signal })
        return wholeAnswer(bytes, accounting, id)
      } catch (error) {
        if (!isHeadgateError(error, 'pending')) throw error
        return waiting(id, await stateOf(client, id))
      }
    }),
  )
  scope.delete(JOB_PATH, (request: OfJob, reply) =>
    answering(request, reply, async (client) => {
      const { id } = request.params
      const said = await client.cancel(id)
      if (!said.cancelled && said.reason === 'unknown_id') return refusalAnswer(UNKNOWN, id)
      return json(200, id, said)
    }),
  )
}

const UNKNOWN = refusal('unknown_id', 'no live instance and no store knows this id')

/** In ms; null: it is no time. */
function waitOf({ query: { wait = '0' } }: OfJob): number | null {
  return typeof wait === 'string' && /^\d{1,9}$/.test(wait) ? Number(wait) * 1_000 : null
}

/** Where it stands, as far as anybody says. */
async function stateOf(client: Headgate, id: string): Promise<object> {
  try {
    return await client.status(id)
  } catch {
    return { id, state: 'queued' }
  }
}

const waiting = (id: string, state: object): HttpAnswer => {
  const { headers, ...answer } = json(202, id, state)
  return { ...answer, headers: { ...headers, location: jobPath(id) } }
}

const json = (status: number, id: string, said: object): HttpAnswer => ({
  status,
  headers: { 'content-type': 'application/json', 'headgate-id': id, 'request-id': id },
  body: JSON.stringify(said),
})
