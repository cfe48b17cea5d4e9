/** The Bus that stays in this process: core NATS as far as Headgate uses it.
 *  Source: NATS subject matching, one member per queue group and message. Our difference: nothing crosses
 *  a socket, so a published Uint8Array is handed on as it is and must not be changed afterwards.
 *  Cost: a literal subject is one map look-up; wildcards are walked token by token, however many there are.
 *  Delivery is never inside `publish`: it happens in a microtask, in the order of publishing. */
import type { Bus, BusHeaders, BusMessage, Subscription } from '#ports'

/** Beyond any answer: in memory, size costs nothing twice. */
export const MEMORY_MAX_PAYLOAD_BYTES = 128_000_000

export function memoryBus(options: { maxPayload?: number } = {}): Bus {
  const maxPayload = options.maxPayload ?? MEMORY_MAX_PAYLOAD_BYTES
  const index = subjectIndex()
  const line = deliveryLine()
  let nobody: (probe: string) => void = () => {}
  let turn = 0
  let open = true

  const tellNobody = (reply: string) => {
    const word = { subject: reply, data: new Uint8Array(0), reply: undefined, nobody: true }
    for (const { on } of index.match(reply)) {
      line.join(() => on({ ...word, header: () => undefined, names: () => [] }))
    }
  }

  return {
    kind: 'memory',
    maxPayload,
    connected: () => open,
    hears: (subject) => index.match(subject).length > 0,

    subscribe(subject, on, { queue } = {}): Subscription {
      checkSubject(subject)
      const member: Member = { on, queue: queue ?? null, lastTurn: 0 }
      if (open) index.add(subject, member)
      return {
        drain() {
          index.remove(subject, member)
          return line.reached()
        },
      }
    },

    publish(subject, data, published = {}) {
      const { last, reply, probe } = published
      if (!index.isLast(subject)) checkSubject(subject)
      if (reply !== undefined) checkSubject(reply)
      const bytes = typeof data === 'string' ? new TextEncoder().encode(data) : data
      // Fields have the shape they need, and nobody may ever want them as text.
      const headers = last === undefined ? (published.headers ?? []) : null
      checkSize({ bytes: bytes.length + headerBytes(headers ?? []), maxPayload })
      if (!open) return
      const members = index.match(subject)
      if (members.length === 0) {
        if (probe !== undefined) line.join(() => nobody(probe))
        else if (reply !== undefined) tellNobody(reply)
        return
      }
      const message: BusMessage = {
        subject,
        data: bytes,
        reply,
        last,
        ...readable(() => headers ?? published.headers ?? []),
      }
      for (const { on } of oneOfEachQueue(members, ++turn)) line.join(() => on(message))
    },

    onNobody(listener) {
      nobody = listener
    },
    flush: () => line.reached(),
    async close() {
      open = false
      await line.reached()
      index.clear()
    },
  }
}

interface Member {
  on: (message: BusMessage) => void
  queue: string | null
  /** When it last took a message of its queue group. */
  lastTurn: number
}

/** Calls wait in one line and are made in microtasks, so that a publisher is never re-entered. A call
 *  that throws is a bug: it surfaces as an uncaught error, and the ones behind it are still made. */
function deliveryLine() {
  let waiting: (() => void)[] = []
  let scheduled = false
  const run = () => {
    const batch = waiting
    waiting = []
    scheduled = false
    let made = 0
    try {
      while (made < batch.length) batch[made++]?.()
    } finally {
      if (made < batch.length) {
        waiting = [...batch.slice(made), ...waiting]
        schedule()
      }
    }
  }
  const schedule = () => {
    if (scheduled || waiting.length === 0) return
    scheduled = true
    queueMicrotask(run)
  }
  const join = (call: () => void) => {
    waiting.push(call)
    schedule()
  }
  return { join, reached: () => new Promise<void>((resolve) => join(resolve)) }
}

interface Branch {
  next: Map<string, Branch>
  /** Patterns that end here. */
  here: Member[]
  /** Patterns that end here with `>`. */
  rest: Member[]
}

const branch = (): Branch => ({ next: new Map(), here: [], rest: [] })

/** Who listens to a subject: literals in a map, patterns in a tree of tokens. */
function subjectIndex() {
  const literal = new Map<string, Member[]>()
  let root = branch()
  let patterns = 0
  /** The last answer: a stream's events all go to one subject. */
  let last: { subject: string; members: readonly Member[] } | null = null

  const add = (subject: string, member: Member) => {
    last = null
    if (!hasWildcard(subject)) {
      const members = literal.get(subject)
      if (members === undefined) literal.set(subject, [member])
      else members.push(member)
      return
    }
    patterns += 1
    let at = root
    const tokens = subject.split('.')
    for (const token of tokens) {
      if (token === '>') {
        at.rest.push(member)
        return
      }
      let next = at.next.get(token)
      if (next === undefined) at.next.set(token, (next = branch()))
      at = next
    }
    at.here.push(member)
  }

  const remove = (subject: string, member: Member) => {
    last = null
    if (hasWildcard(subject)) {
      if (prune(root, subject.split('.'), 0, member)) patterns -= 1
      return
    }
    const members = literal.get(subject)
    if (members !== undefined && takeOut(members, member) && members.length === 0) {
      literal.delete(subject)
    }
  }

  const match = (subject: string): readonly Member[] => {
    if (last?.subject === subject) return last.members
    const exact = literal.get(subject) ?? []
    if (patterns === 0) return exact
    const found = [...exact]
    walk(root, subject.split('.'), 0, found)
    last = { subject, members: found }
    return found
  }

  const isLast = (subject: string) => last?.subject === subject

  const clear = () => {
    last = null
    literal.clear()
    root = branch()
    patterns = 0
  }
  return { add, remove, match, isLast, clear }
}

function walk(at: Branch, tokens: readonly string[], depth: number, found: Member[]): void {
  const token = tokens[depth]
  if (token === undefined) {
    found.push(...at.here)
    return
  }
  found.push(...at.rest)
  // One who publishes a wildcard means nothing by it, and reaches each listener once.
  const same = token === '*' ? undefined : at.next.get(token)
  if (same !== undefined) walk(same, tokens, depth + 1, found)
  const any = at.next.get('*')
  if (any !== undefined) walk(any, tokens, depth + 1, found)
}

/** Takes a pattern out and the branches that nothing hangs on any more. True if it was there. */
function prune(at: Branch, tokens: readonly string[], depth: number, member: Member): boolean {
  const token = tokens[depth]
  if (token === undefined) return takeOut(at.here, member)
  if (token === '>') return takeOut(at.rest, member)
  const next = at.next.get(token)
  if (next === undefined || !prune(next, tokens, depth + 1, member)) return false
  if (next.next.size + next.here.length + next.rest.length === 0) at.next.delete(token)
  return true
}

function takeOut(members: Member[], member: Member): boolean {
  const at = members.indexOf(member)
  if (at === -1) return false
  members.splice(at, 1)
  return true
}

/** Everybody outside a queue group, and of each group the member that waited longest. */
function oneOfEachQueue(members: readonly Member[], turn: number): readonly Member[] {
  if (members.length === 1) return members
  if (members.every(({ queue }) => queue === null)) return [...members]
  const chosen: Member[] = []
  const groups = new Map<string, Member>()
  for (const member of members) {
    if (member.queue === null) {
      chosen.push(member)
      continue
    }
    const rival = groups.get(member.queue)
    if (rival === undefined || member.lastTurn < rival.lastTurn) groups.set(member.queue, member)
  }
  for (const member of groups.values()) {
    member.lastTurn = turn
    chosen.push(member)
  }
  return chosen
}

const hasWildcard = (subject: string) => /(^|\.)(\*|>)(\.|$)/.test(subject)

function checkSubject(subject: string): void {
  if (subject === '' || /[ \t\r\n]/.test(subject)) {
    throw new TypeError('a subject has at least one character and no white space')
  }
}

function checkSize({ bytes, maxPayload }: { bytes: number; maxPayload: number }): void {
  if (bytes > maxPayload) {
    throw new RangeError(`a message of ${bytes} bytes is over the bus limit of ${maxPayload}`)
  }
}

function headerBytes(headers: BusHeaders): number {
  let bytes = headers.length === 0 ? 0 : 12
  for (const [name, value] of headers) {
    if (/[\r\n]/.test(value)) throw new TypeError(`header ${name} holds a line break`)
    bytes += name.length + value.length + 4
  }
  return bytes
}

/** Looked up in any case, and written down only when somebody looks. */
function readable(write: () => BusHeaders): Pick<BusMessage, 'header' | 'names'> {
  let written: BusHeaders | null = null
  let first: Map<string, string> | null = null
  const headers = () => (written ??= write())
  return {
    header: (name) => (first ??= firstOfEach(headers())).get(name.toLowerCase()),
    names: () => headers().map(([name]) => name),
  }
}

function firstOfEach(headers: BusHeaders): Map<string, string> {
  const first = new Map<string, string>()
  for (const [name, value] of headers) {
    const lower = name.toLowerCase()
    if (!first.has(lower)) first.set(lower, value.trim())
  }
  return first
}
