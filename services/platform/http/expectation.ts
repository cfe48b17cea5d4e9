/** `Expect: 100-continue`: a body is asked for when nothing stands against it any more. One that is refused is
 *  never asked for, so what came next on its connection could be anything, and the connection ends. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'

type Request = FastifyRequest['raw']
type Answer = FastifyReply['raw']

export interface Expectations {
  /** It waits to be asked for its body. */
  waits(request: object): boolean
}

export function expectations(app: FastifyInstance, bodyBytesMax: number): Expectations {
  const waiting = new WeakSet<object>()
  app.server.on('checkContinue', (request: Request, answer: Answer) => {
    waiting.add(request)
    app.server.emit('request', request, answer)
  })
  // Node would answer without a word; an expectation that is not known may be overlooked.
  app.server.on('checkExpectation', (request: Request, answer: Answer) =>
    app.server.emit('request', request, answer),
  )
  // The last hook before a body is read, after those of whoever registered the route.
  app.addHook('onRoute', (route) => {
    const before = route.preParsing ?? []
    route.preParsing = [
      ...(Array.isArray(before) ? before : [before]),
      ({ raw }, { raw: answer }, _payload, done) => {
        const tooLarge = Number(raw.headers['content-length']) > bodyBytesMax
        if (waiting.has(raw) && !tooLarge) {
          waiting.delete(raw)
          // One that waits behind another would have it written into its answer, between head and body.
          if (answer.socket !== null) answer.writeContinue()
        }
        done()
      },
    ]
  })
  return { waits: (request) => waiting.has(request) }
}
