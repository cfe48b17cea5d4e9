/** What an operator switches, when the store does not do as it should. */
import { expect, test } from 'vitest'
import { subjects } from '#contracts/subjects'
import type { Bus, KeptSettings } from '#ports'
import { memoryBus } from '../../services/scheduler/memory/bus.ts'
import { memorySettings } from '../../services/scheduler/memory/settings.ts'
import { createLog } from '../../services/platform/log.ts'
import {
  LOOK_MS,
  PEERS_WITHIN_MS,
  STORED_WITHIN_MS,
  switches,
} from '../../services/scheduler/compose/switches.ts'
import { manualClock, type ManualClock } from '../support/manual-clock.ts'

/** A store that several share, and that can be broken. */
function sharedStore() {
  const kept = new Map<string, string>()
  const watchers = new Set<(key: string, value: string) => void>()
  const store = {
    kept,
    broken: null as string | null,
    frozen: false,
    settings(): KeptSettings {
      const work = (): Promise<void> =>
        store.frozen
          ? new Promise(() => {})
          : store.broken === null
            ? Promise.resolve()
            : Promise.reject(new Error(store.broken))
      return {
        shared: true,
        get durable() {
          return store.broken === null
        },
        get reason() {
          return store.broken
        },
        get: (key) => work().then(() => kept.get(key) ?? null),
        put: (key, value) =>
          work().then(() => {
            kept.set(key, value)
            for (const tell of watchers) tell(key, value)
          }),
        async watch(on) {
          watchers.add(on)
        },
        close: async () => {},
      }
    },
  }
  return store
}

/** The bus in memory, taken for one that others are on too. */
const shared = (bus: Bus): Bus => ({ ...bus, kind: 'nats', connected: () => true })

function one(of: {
  clock: ManualClock
  settings: KeptSettings
  bus: Bus
  instance: string
  logged?: string[]
}) {
  const inForce = new Map<string, string>()
  const obeyed: string[] = []
  const made = switches({
    ...of,
    keys: ['emergency', 'paused_lanes'],
    obey(key, value) {
      inForce.set(key, value)
      obeyed.push(`${key}=${value}`)
    },
    subjects: subjects('llm'),
    log: createLog({
      level: 'debug',
      clock: of.clock,
      to: { write: (line) => of.logged?.push(line) },
    }),
  })
  return { ...made, inForce, obeyed }
}

/** Lets what was promised happen. */
const turns = async (): Promise<void> => {
  for (let turn = 0; turn < 50; turn++) await Promise.resolve()
}
const answered = async <T>(clock: ManualClock, asked: Promise<T>, ms: number): Promise<T> => {
  await turns()
  clock.advance(ms)
  await turns()
  return asked
}

test.each(['wrongly last sequence', 'no JetStream on this server', 'maximum bytes exceeded'])(
  'a store that says "%s" does not keep an act from being in force',
  async (reason) => {
    const clock = manualClock()
    const store = sharedStore()
    const logged: string[] = []
    store.broken = reason
    const a = one({ clock, settings: store.settings(), bus: memoryBus(), instance: 'a', logged })
    await a.open()
    const said = await answered(clock, a.say('emergency', 'on'), 0)
    expect(a.inForce.get('emergency')).toBe('on')
    expect(said).toEqual({ durable: false, reason, obeyedBy: ['a'] })

    store.broken = null
    await answered(clock, Promise.resolve(), LOOK_MS)
    expect(store.kept.get('emergency')).toContain('on')
    // Told twice for two looks would be a flood.
    expect(logged.filter((line) => line.includes(reason)).length).toBe(1)
    await a.close()
    expect(clock.pending()).toBe(0)
  },
)

test('a store that is frozen costs an operator a bounded time', async () => {
  const clock = manualClock()
  const store = sharedStore()
  const a = one({ clock, settings: store.settings(), bus: memoryBus(), instance: 'a' })
  await a.open()
  store.frozen = true
  const asked = a.say('emergency', 'on')
  expect(a.inForce.get('emergency')).toBe('on')
  const said = await answered(clock, asked, STORED_WITHIN_MS)
  expect(said.durable).toBe(false)
  expect(said.reason).toMatch(/has not answered/)
})

test('the others obey at once though nothing can be stored, and the answer names them', async () => {
  const clock = manualClock()
  const bus = shared(memoryBus())
  const store = sharedStore()
  store.broken = 'the bucket is gone'
  const [a, b, c] = ['a', 'b', 'c'].map((instance) =>
    one({ clock, settings: store.settings(), bus, instance }),
  )
  await Promise.all([a?.open(), b?.open(), c?.open()])
  const said = await answered(clock, a!.say('paused_lanes', 'batch'), PEERS_WITHIN_MS)
  expect(said.obeyedBy).toEqual(['a', 'b', 'c'])
  for (const each of [a, b, c]) expect(each?.inForce.get('paused_lanes')).toBe('batch')
})

test('the latest word wins, whoever could store it first', async () => {
  const clock = manualClock()
  const store = sharedStore()
  // Two that cannot hear each other.
  const a = one({ clock, settings: store.settings(), bus: memoryBus(), instance: 'a' })
  const b = one({ clock, settings: store.settings(), bus: memoryBus(), instance: 'b' })
  await Promise.all([a.open(), b.open()])
  store.broken = 'away'
  await answered(clock, a.say('emergency', 'on'), 10)
  await answered(clock, b.say('emergency', 'off'), 10)
  store.broken = null
  await answered(clock, Promise.resolve(), LOOK_MS)
  await answered(clock, Promise.resolve(), LOOK_MS)
  expect([a, b].map((each) => each.inForce.get('emergency'))).toEqual(['off', 'off'])
  expect(store.kept.get('emergency')).toContain('off')
})

test('a bucket made anew is filled again by those who remember', async () => {
  const clock = manualClock()
  const store = sharedStore()
  const a = one({ clock, settings: store.settings(), bus: memoryBus(), instance: 'a' })
  await a.open()
  await answered(clock, a.say('emergency', 'on'), 0)
  store.kept.clear()
  await answered(clock, Promise.resolve(), LOOK_MS)
  const late = one({ clock, settings: store.settings(), bus: memoryBus(), instance: 'late' })
  await late.open()
  expect(late.inForce.get('emergency')).toBe('on')
})

test('plain text is read, as an older version stored it and as a person writes it', async () => {
  const clock = manualClock()
  const store = sharedStore()
  store.kept.set('emergency', 'on')
  const settings = store.settings()
  const a = one({ clock, settings, bus: memoryBus(), instance: 'a' })
  await a.open()
  expect(a.inForce.get('emergency')).toBe('on')
  await settings.put('emergency', 'off')
  expect(a.inForce.get('emergency')).toBe('off')
})

test.each(['', '{', '{"at":1}', '{"key":"emergency","value":"on"}', '[]', 'null', '{"at":"x"}'])(
  'what a peer never says is not obeyed: %s',
  async (text) => {
    const clock = manualClock()
    const bus = shared(memoryBus())
    const a = one({ clock, settings: sharedStore().settings(), bus, instance: 'a' })
    await a.open()
    bus.publish('llm.v1.peer.switch', text, { reply: '_INBOX.x' })
    await turns()
    expect(a.obeyed).toEqual([])
  },
)

test('in one process nothing is waited for', async () => {
  const clock = manualClock()
  const a = one({ clock, settings: memorySettings(), bus: memoryBus(), instance: 'a' })
  await a.open()
  const said = await a.say('emergency', 'on')
  expect(said).toEqual({ durable: false, reason: 'kept in memory', obeyedBy: ['a'] })
  expect(clock.pending()).toBe(0)
})
