/** What operators switch: obeyed first, in memory, then told to the other instances, then stored, so that no
 *  trouble of the store stands between an operator and the act. What cannot be stored is tried again until it is.
 *
 *  Each switch is a register in which the latest word wins (Lamport 1978: the wall clock, and never below what was
 *  heard), so that instances agree whatever was lost between them: every one that looks into the store writes what
 *  it knows better and takes over what the store knows better. */
import type { Subjects } from '#contracts/subjects'
import {
  readPeerAnswer,
  readPeerWord,
  readStoredWord,
  type SwitchWord,
} from '#contracts/switch-word'
import type { Bus, Clock, KeptSettings, Millis } from '#ports'

/** How long an operator's answer waits for the store. */
export const STORED_WITHIN_MS: Millis = 1_000
/** How long it waits for the other instances; a round trip takes a few milliseconds. */
export const PEERS_WITHIN_MS: Millis = 150
/** How often the store is looked into, and told what it does not have. */
export const LOOK_MS: Millis = 5_000

/** What became of an act, beside being obeyed here. */
export interface Said {
  /** It outlives a restart of every instance. */
  durable: boolean
  /** Why not; null where it does. */
  reason: string | null
  /** Instances that have obeyed, this one first. */
  obeyedBy: string[]
}

export interface Switches {
  say(key: string, value: string): Promise<Said>
  /** What was said before this start is in force when this resolves, if the store can tell. */
  open(): Promise<void>
  close(): Promise<void>
}

export interface SwitchesOptions {
  keys: readonly string[]
  /** Puts a value in force; called for each value once, in order. */
  obey: (key: string, value: string) => void
  settings: KeptSettings
  bus: Bus
  subjects: Subjects
  instance: string
  clock: Clock
  /** Hears of the store's trouble, once, and of its end. */
  log: { info(message: string): void; warn(message: string): void }
}

/** The latest word on each switch that this instance has heard. */
interface Register {
  get(key: string): SwitchWord | undefined
  /** Obeyed where it is later than what is known. */
  take(key: string, heard: SwitchWord): void
}

export function switches(of: SwitchesOptions): Switches {
  const { clock, instance } = of
  const known = registerOf(of)
  const stored = storedWords(of, known)
  const peers = peersOf(of, known)
  return {
    async say(key, value) {
      const one = { value, at: Math.max(clock.wall(), (known.get(key)?.at ?? -1) + 1) }
      known.take(key, one)
      const [reason, obeyed] = await Promise.all([
        bounded(clock, stored.put(key, one)),
        peers.tell(key, one).catch(() => []),
      ])
      return { durable: reason === null, reason, obeyedBy: [instance, ...obeyed] }
    },
    open: () => stored.open(),
    async close() {
      stored.close()
      await peers.close()
    },
  }
}

const later = (one: SwitchWord, other: SwitchWord | undefined): boolean =>
  other === undefined || one.at > other.at || (one.at === other.at && one.value > other.value)

function registerOf({ keys, obey }: SwitchesOptions): Register {
  const known = new Map<string, SwitchWord>()
  return {
    get: (key) => known.get(key),
    take(key, heard) {
      if (!keys.includes(key)) return
      const before = known.get(key)
      if (!later(heard, before)) return
      known.set(key, heard)
      if (heard.value !== before?.value) obey(key, heard.value)
    },
  }
}

// ---- the store ----

interface StoredWords {
  /** Why it does not outlive a restart; null: it does. */
  put(key: string, one: SwitchWord): Promise<string | null>
  open(): Promise<void>
  close(): void
}

function storedWords(of: SwitchesOptions, known: Register): StoredWords {
  const { settings, clock, log } = of
  let stopLooking = (): void => {}
  let closed = false
  /** The store's trouble that was logged last. */
  let warned: string | null = null

  const put = async (key: string, one: SwitchWord): Promise<string | null> => {
    try {
      await settings.put(key, JSON.stringify(one))
      if (warned !== null) log.info('what operators said is stored again')
      warned = null
      return settings.durable ? null : settings.reason
    } catch (error) {
      const reason = reasonOf(error)
      if (warned === null)
        log.warn(`what an operator said is in force, and cannot be stored: ${reason}`)
      warned = reason
      return reason
    }
  }
  /** Whoever is behind catches up: the store or we. */
  const agree = async (key: string): Promise<void> => {
    const stored = readStoredWord(await settings.get(key), 0)
    const own = known.get(key)
    if (stored !== null) known.take(key, stored)
    if (own !== undefined && (stored === null || later(own, stored))) await put(key, own)
  }
  const look = async (): Promise<void> => {
    for (const key of of.keys) await agree(key).catch(() => {})
  }
  const again = (): void => {
    if (!closed) stopLooking = clock.after(LOOK_MS, () => void look().then(again, again))
  }
  const readAll = async (): Promise<void> => {
    await Promise.all(
      of.keys.map(async (key) => {
        const stored = readStoredWord(await settings.get(key), 0)
        if (stored !== null) known.take(key, stored)
      }),
    )
  }
  return {
    put,
    async open() {
      await readAll().catch((error: unknown) => {
        warned = reasonOf(error)
        log.warn(`what operators said before is not known: ${warned}`)
      })
      if (!settings.shared) return
      // Also what a person wrote with a tool, as plain text: then its time is when it was heard.
      await settings.watch((key, text) => {
        const heard = readStoredWord(text, clock.wall())
        if (heard !== null) known.take(key, heard)
      })
      again()
    },
    close() {
      closed = true
      stopLooking()
    },
  }
}

const reasonOf = (error: unknown): string =>
  error instanceof Error ? error.message : 'no reason given'

// ---- the other instances ----

interface Peers {
  /** Those of them that have it in force. */
  tell(key: string, one: SwitchWord): Promise<string[]>
  close(): Promise<void>
}

function peersOf({ bus, clock, instance, subjects }: SwitchesOptions, known: Register): Peers {
  if (bus.kind === 'memory') return { tell: () => Promise.resolve([]), close: async () => {} }
  const subject = subjects.peerSwitch
  let asked = 0
  const listening = bus.subscribe(subject, (message) => {
    const heard = readPeerWord(message.data)
    if (heard === null || heard.from === instance) return
    const { key, from: _, ...one } = heard
    known.take(key, one)
    if (message.reply !== undefined && known.get(key)?.value === one.value)
      bus.publish(message.reply, JSON.stringify({ instance }))
  })
  return {
    tell(key, one) {
      if (!bus.connected()) return Promise.resolve([])
      return new Promise((resolve) => {
        const peers = new Set<string>()
        const inbox = `_INBOX.${instance}.switch.${++asked}`
        const subscription = bus.subscribe(inbox, (message) => {
          const peer = readPeerAnswer(message.data)
          if (peer !== null) peers.add(peer)
        })
        clock.after(PEERS_WITHIN_MS, () => {
          subscription.drain().catch(() => {})
          resolve([...peers].sort())
        })
        bus.publish(subject, JSON.stringify({ ...one, key, from: instance }), { reply: inbox })
      })
    },
    close: () => listening.drain(),
  }
}

function bounded(clock: Clock, work: Promise<string | null>): Promise<string | null> {
  return new Promise((resolve) => {
    const stop = clock.after(STORED_WITHIN_MS, () =>
      resolve(`the store has not answered within ${STORED_WITHIN_MS} ms; it is tried again`),
    )
    void work.then((reason) => {
      stop()
      resolve(reason)
    })
  })
}
