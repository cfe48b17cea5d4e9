/** To close on a caller who still sends is to have it see a broken pipe, and not its answer. So only our side of
 *  the connection ends with the answer; what is on its way is read and dropped, for as long as that may take. */
import type { FastifyRequest } from 'fastify'

type Request = FastifyRequest['raw']
type Socket = Request['socket']

/** The connection ends with the answer to `request`, of which not all is here yet: with the rest of it, or when
 *  the caller goes. The listener's bound for a whole request holds for it. */
export function lingerOver(request: Request): void {
  const { socket } = request
  const close = socket.destroySoon.bind(socket)
  // What Node calls once the last answer is written.
  socket.destroySoon = () => {
    if (request.complete) return close()
    socket.end()
    request.once('end', close).resume()
  }
}

/** Ends our side of a connection that carries no HTTP any more, and the other soon, whether or not it goes. */
export function lingerOn(
  socket: Socket,
  lastWord: string,
  after: (ms: number, call: () => void) => () => void,
): void {
  socket.end(lastWord)
  const stop = after(GARBAGE_MS, () => socket.destroy())
  socket.once('close', stop)
  socket.once('end', () => socket.destroy()).resume()
}

/** Enough for what a usual connection has on its way. */
const GARBAGE_MS = 5_000
