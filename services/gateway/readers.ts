/** What callers have not read yet. One who leaves too much unread is ended, so that its slot and its memory
 *  come back; all together they have a bound too, and the one who leaves most goes first; and one who reads
 *  nothing at all for a while is gone.
 *  Cost: a few numbers per write; the list is walked once a second and where the common bound is passed. */

/** The writable side of a response, as far as it is needed. */
export interface Unread {
  readonly writableLength: number
}

export interface Reader {
  /** After each write of so many bytes: false when it was just ended for what it leaves unread. */
  wrote(bytes: number): boolean
  close(): void
}

export interface Readers {
  open(to: Unread, end: (why: 'unread' | 'stalled') => void): Reader
  /** Of all, now. */
  readonly bytes: number
  close(): void
}

interface Entry {
  to: Unread
  end: (why: 'unread' | 'stalled') => void
  written: number
  /** Of what was written, unread. */
  counted: number
  /** What had been read at the last look, and for how long it has been no more than that. */
  read: number
  stalledMs: number
  over: boolean
}

const LOOK_MS = 1_000

export function readers(of: {
  limits: () => { eachBytesMax: number; allBytesMax: number; stallMs: number }
  after: (ms: number, call: () => void) => () => void
}): Readers {
  const entries = new Set<Entry>()
  let bytes = 0

  const count = (entry: Entry) => {
    const now = entry.over ? 0 : entry.to.writableLength
    bytes += now - entry.counted
    entry.counted = now
  }
  const drop = (entry: Entry) => {
    entry.over = true
    count(entry)
    entries.delete(entry)
  }
  const end = (entry: Entry, why: 'unread' | 'stalled') => {
    drop(entry)
    entry.end(why)
  }
  const endWorst = () => {
    for (const entry of entries) count(entry)
    while (bytes > of.limits().allBytesMax) {
      let worst: Entry | null = null
      for (const entry of entries) if (entry.counted > (worst?.counted ?? 0)) worst = entry
      if (worst === null) return
      end(worst, 'unread')
    }
  }
  const look = () => {
    stop = null
    const { stallMs } = of.limits()
    for (const entry of [...entries]) {
      count(entry)
      const read = entry.written - entry.counted
      entry.stalledMs = entry.counted === 0 || read > entry.read ? 0 : entry.stalledMs + LOOK_MS
      entry.read = read
      if (entry.stalledMs >= stallMs) end(entry, 'stalled')
    }
    if (entries.size > 0) stop = of.after(LOOK_MS, look)
  }
  let stop: (() => void) | null = null

  return {
    get bytes() {
      return bytes
    },
    open(to, tell) {
      const none = { written: 0, counted: 0, read: 0, stalledMs: 0, over: false }
      const entry: Entry = { to, end: tell, ...none }
      entries.add(entry)
      stop ??= of.after(LOOK_MS, look)
      return {
        wrote(more) {
          if (entry.over) return false
          entry.written += more
          count(entry)
          if (entry.counted > of.limits().eachBytesMax) end(entry, 'unread')
          else if (bytes > of.limits().allBytesMax) endWorst()
          return !entry.over
        },
        close: () => drop(entry),
      }
    },
    close() {
      stop?.()
      stop = null
      entries.clear()
      bytes = 0
    },
  }
}
