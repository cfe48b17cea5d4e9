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

interface Limits {
  eachBytesMax: number
  allBytesMax: number
  stallMs: number
}

/** All who read here. */
interface Room {
  readonly limits: () => Limits
  readonly answers: Set<Answer>
  readonly connections: Set<Connection>
  /** Unread, of all. */
  bytes: number
}

export function readers(of: {
  limits: () => Limits
  after: (ms: number, call: () => void) => () => void
}): Readers {
  const { limits } = of
  const room: Room = { limits, answers: new Set(), connections: new Set(), bytes: 0 }
  let stop: (() => void) | null = null
  const look = () => {
    stop = null
    lookAtAnswers(room)
    lookAtConnections(room)
    lookLater()
  }
  const lookLater = () => {
    if (room.connections.size + room.answers.size > 0) stop ??= of.after(LOOK_MS, look)
  }

  return {
    get bytes() {
      return room.bytes
    },
    open(to, tell) {
      const answer = beginAnswer(to, tell)
      room.answers.add(answer)
      lookLater()
      return {
        wrote: () => wrote(room, answer),
        wroteAll() {
          answer.bounded = false
          return wrote(room, answer)
        },
        close: () => drop(room, answer),
      }
    },
    watch(from, tell) {
      const connection: Connection = { from, end: tell, taken: 0, stalledMs: 0 }
      room.connections.add(connection)
      lookLater()
      return { close: () => void room.connections.delete(connection) }
    },
    close() {
      stop?.()
      stop = null
      room.connections.clear()
      for (const answer of room.answers) drop(room, answer)
    },
  }
}

const beginAnswer = (to: Unread, end: () => void): Answer => ({
  to,
  end,
  counted: 0,
  bounded: true,
  taken: to.taken,
  stalledMs: 0,
  since: { taken: to.taken, grown: 0, largest: 0 },
  over: false,
})

/** False: it was ended, now or before. */
function wrote(room: Room, answer: Answer): boolean {
  if (answer.over) return false
  const { eachBytesMax, allBytesMax } = room.limits()
  const before = answer.counted
  count(room, answer)
  const growth = grow(answer, answer.counted - before)
  if (answer.bounded && growth > FULL_TIMES * eachBytesMax) end(room, answer)
  else if (room.bytes > allBytesMax) endWorst(room)
  return !answer.over
}

function count(room: Room, answer: Answer): void {
  const now = answer.over ? 0 : answer.to.unread
  room.bytes += now - answer.counted
  answer.counted = now
}

function drop(room: Room, answer: Answer): void {
  answer.over = true
  count(room, answer)
  room.answers.delete(answer)
}

function end(room: Room, answer: Answer): void {
  drop(room, answer)
  answer.end()
}

function endWorst(room: Room): void {
  for (const answer of room.answers) count(room, answer)
  while (room.bytes > room.limits().allBytesMax) {
    let worst: Answer | null = null
    for (const answer of room.answers) if (isWorse(answer, worst)) worst = answer
    if (worst === null) return
    end(room, worst)
  }
}

function lookAtAnswers(room: Room): void {
  const { eachBytesMax, stallMs } = room.limits()
  for (const answer of [...room.answers]) {
    count(room, answer)
    const stands = answer.counted > 0 && answer.to.taken === answer.taken
    answer.stalledMs = stands ? answer.stalledMs + LOOK_MS : 0
    answer.taken = answer.to.taken
    const full = answer.bounded && answer.counted > eachBytesMax
    if (full && answer.stalledMs >= Math.min(FULL_MS, stallMs)) end(room, answer)
  }
}

function lookAtConnections({ limits, connections }: Room): void {
  const { stallMs } = limits()
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
