/** What callers have not read yet. One who leaves more than its bound unread and takes nothing for a few
 *  seconds, or while several times the bound come, is ended, so that its memory comes back: who reads is never
 *  ended for what was just written, and one event however large is no reason. All
 *  together they have a bound too, and past it one goes at once: of those that take nothing the one who leaves
 *  most, else of all. A connection that takes nothing for a while is gone, whatever it was answered.
 *  Cost: a few numbers per write; the lists are walked once a second, and the answers where the common bound
 *  is passed. */

/** How a response goes. */
export interface Unread {
  /** Bytes that its reader has not taken, and those that it has. */
  readonly unread: number
  readonly taken: number
}

/** How a socket goes. */
export interface Taking {
  readonly writableLength: number
  /** What waits included. */
  readonly bytesWritten: number
}

export interface Reader {
  /** After a write: false when it was just ended. */
  wrote(): boolean
  /** The same for an answer that is written at once: it is as large as it is, so it has no bound of its own. */
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
  /** Whether it has a bound of its own. */
  bounded: boolean
  /** What it had taken at the last look, and for how long it has been no more than that. */
  taken: number
  stalledMs: number
  since: Growth
  over: boolean
}

/** How much more has become unread since its reader last took anything. */
interface Growth {
  taken: number
  /** Bytes, and the largest write among them. */
  grown: number
  largest: number
}

interface Connection {
  from: Taking
  end: () => void
  /** What it had taken at the last look, and for how long it has been no more than that. */
  taken: number
  stalledMs: number
}

const LOOK_MS = 1_000
/** How long one whose bound is used up may take nothing: a busy program pauses so long, and one that stands still
 *  does not keep for a minute what all share. */
const FULL_MS = 5_000
/** Nor does it get more than so many times its bound meanwhile: it would be minutes of any real stream. */
const FULL_TIMES = 8

export function readers(of: {
  limits: () => { eachBytesMax: number; allBytesMax: number; stallMs: number }
  after: (ms: number, call: () => void) => () => void
}): Readers {
  const answers = new Set<Answer>()
  const connections = new Set<Connection>()
  let bytes = 0

  const count = (answer: Answer) => {
    const now = answer.over ? 0 : answer.to.unread
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
      for (const answer of answers) if (isWorse(answer, worst)) worst = answer
      if (worst === null) return
      end(worst)
    }
  }
  const lookAtAnswers = () => {
    const { eachBytesMax, stallMs } = of.limits()
    for (const answer of [...answers]) {
      count(answer)
      const stands = answer.counted > 0 && answer.to.taken === answer.taken
      answer.stalledMs = stands ? answer.stalledMs + LOOK_MS : 0
      answer.taken = answer.to.taken
      const full = answer.bounded && answer.counted > eachBytesMax
      if (full && answer.stalledMs >= Math.min(FULL_MS, stallMs)) end(answer)
    }
  }
  const lookAtConnections = () => {
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
  }
  const look = () => {
    stop = null
    lookAtAnswers()
    lookAtConnections()
    lookLater()
  }
  const lookLater = () => {
    if (connections.size + answers.size > 0) stop ??= of.after(LOOK_MS, look)
  }
  let stop: (() => void) | null = null

  return {
    get bytes() {
      return bytes
    },
    open(to, tell) {
      const answer: Answer = {
        to,
        end: tell,
        counted: 0,
        bounded: true,
        taken: to.taken,
        stalledMs: 0,
        since: { taken: to.taken, grown: 0, largest: 0 },
        over: false,
      }
      answers.add(answer)
      lookLater()
      const wrote = (): boolean => {
        if (answer.over) return false
        const { eachBytesMax, allBytesMax } = of.limits()
        const before = answer.counted
        count(answer)
        const growth = grow(answer, answer.counted - before)
        if (answer.bounded && growth > FULL_TIMES * eachBytesMax) end(answer)
        else if (bytes > allBytesMax) endWorst()
        return !answer.over
      }
      return {
        wrote,
        wroteAll() {
          answer.bounded = false
          return wrote()
        },
        close: () => drop(answer),
      }
    },
    watch(from, tell) {
      const connection: Connection = { from, end: tell, taken: 0, stalledMs: 0 }
      connections.add(connection)
      lookLater()
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

/** What has become unread since the reader last took anything, beside the largest write of it. */
function grow({ to, since }: Answer, bytes: number): number {
  if (to.taken !== since.taken) Object.assign(since, { taken: to.taken, grown: 0, largest: 0 })
  since.grown += bytes
  since.largest = Math.max(since.largest, bytes)
  return since.grown - since.largest
}

/** One that takes nothing before one that reads, then the one who leaves more. */
function isWorse(one: Answer, other: Answer | null): boolean {
  if (one.counted === 0 || other === null) return one.counted > 0
  const [still, otherStill] = [one.stalledMs > 0, other.stalledMs > 0]
  return still === otherStill ? one.counted > other.counted : still
}
