/** What callers have not read yet. One who leaves too much unread is ended, so that its slot and its memory
 *  come back; all together they have a bound too, and the one who leaves most goes first; and a connection
 *  that takes nothing at all for a while is gone, whatever it was answered.
 *  Cost: a few numbers per write; the lists are walked once a second, and the answers where the common bound
 *  is passed. */

/** The writable side of a response, as far as it is needed. */
export interface Unread {
  readonly writableLength: number
}

/** The same of a socket. */
export interface Taking extends Unread {
  /** What waits included. */
  readonly bytesWritten: number
}

export interface Reader {
  /** After a write: false when it was just ended for what it leaves unread. */
  wrote(): boolean
  /** The same for an answer that is written at once: it is as large as it is, so only what all together
   *  leave unread can end it. */
  wroteAll(): boolean
  close(): void
}

export interface Readers {
  open(to: Unread, end: () => void): Reader
  watch(connection: Taking, end: () => void): { close(): void }
  /** Of all, now. */
  readonly bytes: number
  close(): void
}

interface Answer {
  to: Unread
  end: () => void
  /** Of what was written, unread. */
  counted: number
  over: boolean
}

interface Connection {
  from: Taking
  end: () => void
  /** What it had taken at the last look, and for how long it has been no more than that. */
  taken: number
  stalledMs: number
}

const LOOK_MS = 1_000

export function readers(of: {
  limits: () => { eachBytesMax: number; allBytesMax: number; stallMs: number }
  after: (ms: number, call: () => void) => () => void
}): Readers {
  const answers = new Set<Answer>()
  const connections = new Set<Connection>()
  let bytes = 0

  const count = (answer: Answer) => {
    const now = answer.over ? 0 : answer.to.writableLength
    bytes += now - answer.counted
    answer.counted = now
  }
  const drop = (answer: Answer) => {
    answer.over = true
    count(answer)
    answers.delete(answer)
  }
  const end = (answer: Answer) => {
    drop(answer)
    answer.end()
  }
  const endWorst = () => {
    for (const answer of answers) count(answer)
    while (bytes > of.limits().allBytesMax) {
      let worst: Answer | null = null
      for (const answer of answers) if (answer.counted > (worst?.counted ?? 0)) worst = answer
      if (worst === null) return
      end(worst)
    }
  }
  const look = () => {
    stop = null
    const { stallMs } = of.limits()
    for (const connection of [...connections]) {
      const { writableLength, bytesWritten } = connection.from
      const taken = bytesWritten - writableLength
      const stands = writableLength > 0 && taken === connection.taken
      connection.stalledMs = stands ? connection.stalledMs + LOOK_MS : 0
      connection.taken = taken
      if (connection.stalledMs < stallMs || !stands) continue
      connections.delete(connection)
      connection.end()
    }
    if (connections.size > 0) stop = of.after(LOOK_MS, look)
  }
  let stop: (() => void) | null = null

  return {
    get bytes() {
      return bytes
    },
    open(to, tell) {
      const answer: Answer = { to, end: tell, counted: 0, over: false }
      answers.add(answer)
      const wrote = (eachBytesMax: number): boolean => {
        if (answer.over) return false
        count(answer)
        if (answer.counted > eachBytesMax) end(answer)
        else if (bytes > of.limits().allBytesMax) endWorst()
        return !answer.over
      }
      return {
        wrote: () => wrote(of.limits().eachBytesMax),
        wroteAll: () => wrote(Infinity),
        close: () => drop(answer),
      }
    },
    watch(from, tell) {
      const connection: Connection = { from, end: tell, taken: 0, stalledMs: 0 }
      connections.add(connection)
      stop ??= of.after(LOOK_MS, look)
      return { close: () => void connections.delete(connection) }
    },
    close() {
      stop?.()
      stop = null
      connections.clear()
      for (const answer of answers) drop(answer)
    },
  }
}
