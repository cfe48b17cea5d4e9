/** What each connection has asked and has no answer to yet: how much it may ask before it reads, and whether a
 *  last word to it would be taken for an answer to something else.
 *  Cost: three words per connection, which go with it. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'

/** Requests of one connection that have no answer yet. */
const PIPELINED_MAX = 16

type Request = FastifyRequest['raw']
type Answer = FastifyReply['raw']
type Socket = Request['socket']

interface Asked {
  unanswered: number
  /** The last of what it asked. */
  request: Request
  answer: Answer
}

export interface Connections {
  /** False: it asks faster than it reads. */
  mayAsk(socket: Socket): boolean
  /** What came last on it is no request: true if a refusal of that would be taken for nothing else. */
  mayHear(socket: object): boolean
  /** True: what came last on it is a whole request. */
  hasWhole(socket: object): boolean
}

export function connections(app: FastifyInstance): Connections {
  const all = new WeakMap<object, Asked>()
  app.server.prependListener('request', (request: Request, answer: Answer) => {
    const { socket } = request
    const asked = all.get(socket) ?? { unanswered: 0, request, answer }
    all.set(socket, Object.assign(asked, { request, answer }))
    asked.unanswered += 1
    answer.once('close', () => (asked.unanswered -= 1))
  })
  return {
    mayAsk: (socket) => (all.get(socket)?.unanswered ?? 0) <= PIPELINED_MAX,
    hasWhole: (socket) => all.get(socket)?.request.complete === true,
    mayHear(socket) {
      const asked = all.get(socket)
      if (asked === undefined) return true
      // What is wrong is the rest of that request, or what came after it.
      if (asked.request.complete) return asked.unanswered === 0
      return asked.unanswered === 1 && !asked.answer.headersSent
    },
  }
}
