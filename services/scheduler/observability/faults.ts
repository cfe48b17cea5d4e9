/** What went wrong in one callback, timer or act, and nowhere else: counted each time, logged once for each place.
 *  An error's text may quote what somebody sent, so a line has its name, its code and where it was thrown.
 *  Bound: `PLACES_MAX` places are remembered; what comes from others is counted and not logged. */
import type { Log } from '#platform/log'

export type Fault = (room: string, error: unknown) => void

export const PLACES_MAX = 200
/** Lines of the stack that are told. */
const FRAMES = 4

export function faultDesk(of: { log: Log; count: (room: string) => void }): Fault {
  const told = new Set<string>()
  return (room, error) => {
    of.count(room)
    const at = framesOf(error)
    const place = `${room} ${nameOf(error)} ${at}`
    if (told.has(place) || told.size >= PLACES_MAX) return
    told.add(place)
    of.log.error('a fault of ours, and no reason to stop: please report it (logged once)', {
      name: room,
      error: nameOf(error),
      at,
    })
  }
}

export function nameOf(error: unknown): string {
  if (!(error instanceof Error)) return 'no Error'
  const { code } = error as { code?: unknown }
  return typeof code === 'string' && /^[A-Z0-9_]{1,64}$/.test(code)
    ? `${error.name} ${code}`
    : error.name
}

/** Where it was thrown: function, file and line, without the text above them, which may look like more of them. */
export function framesOf(error: unknown): string {
  if (!(error instanceof Error) || typeof error.stack !== 'string') return ''
  const text = String(error.message)
  const from = error.stack.indexOf(text)
  if (from < 0) return ''
  return error.stack
    .slice(from + text.length)
    .split('\n')
    .filter((line) => FRAME.test(line))
    .slice(0, FRAMES)
    .map((line) => line.trim().replace(ABSOLUTE, '$1/'))
    .join(' < ')
}

const FRAME = /^ {4}at [^\n]{1,300}:\d+:\d+\)?$/
/** What stands before the tree is this machine's. */
const ABSOLUTE = /(?:file:\/\/)?\/[^ ()]*\/(services|contracts|machines|node_modules)\//
