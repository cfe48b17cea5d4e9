/** Imported into a scheduler's process: from the request `BREAK_ID` on, what the loop keeps of a request and
 *  what the core keeps of it are no longer the same. Its next step finds that and ends the process. */
import { Loop } from '../../services/scheduler/loop/loop.ts'

const { request } = Loop.prototype

Loop.prototype.request = function (incoming) {
  request.call(this, incoming)
  if (incoming.id !== process.env['BREAK_ID']) return
  for (const taken of this.state.requests.values())
    Object.assign(taken, { asked: { ...taken.asked, request: null } })
}
