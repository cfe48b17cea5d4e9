/** The whole scheduler over the memory bus on a hand-moved clock, before a scripted provider, with every message
 *  of the bus written down as it crosses: subject, headers, body. */
import { loadConfig } from '#platform/config/load'
import { createLog } from '#platform/log'
import { memoryBus } from '#scheduler/memory/bus'
import type { Bus, BusHeaders, Clock } from '#ports'
import { seededDice } from '#core/estimators/dice'
import { newRecord } from '../../services/scheduler/fleet/record.ts'
import { memoryFleetStore } from '../../services/scheduler/memory/fleet-store.ts'
import { memoryJobStore, type MemoryJobStore } from '../../services/scheduler/memory/job-store.ts'
import { memorySettings } from '../../services/scheduler/memory/settings.ts'
import { wire, type Wired } from '../../services/scheduler/compose/wire.ts'
import { manualClock } from '../support/manual-clock.ts'
import { scriptedProvider, type Act } from '../support/scripted-provider.ts'

export interface Sent {
  subject: string
  headers: Readonly<Record<string, string>>
  body: string
  reply: string | undefined
}

export interface RecordedHouse {
  readonly wired: Wired
  /** Where its durable jobs are kept. */
  readonly store: MemoryJobStore
  /** In the order of publishing, both ways. */
  readonly sent: readonly Sent[]
  /** Publishes with a reply subject of its own, which is the answer. */
  ask(subject: string, body?: unknown, headers?: Readonly<Record<string, string>>): Promise<string>
  /** Without a reply subject. */
  tell(subject: string, body: unknown): void
  /** Lets virtual time go by, and everything happen that follows. */
  pass(ms: number): Promise<void>
  close(): Promise<void>
}

export const TOKEN = 'let-me-in'

export async function openRecordedHouse(of: {
  yaml?: string
  /** What the provider does with each attempt of a request, by its id; then `answered`. */
  acts?: Readonly<Record<string, readonly Act[]>>
  http?: boolean
}): Promise<RecordedHouse> {
  const clock = manualClock()
  const sent: Sent[] = []
  const bus = written(memoryBus(), sent)
  const left = new Map(Object.entries(of.acts ?? {}).map(([id, acts]) => [id, [...acts]]))
  const provider = scriptedProvider({
    clock,
    script: (call) => left.get(call.id)?.shift() ?? answered,
    aux: async () => ({ status: 200, requestId: 'req_aux', body: Buffer.from('{"data":[]}') }),
  })
  const store = memoryJobStore({
    published: ({ tenant, id, headers, body }) =>
      bus.publish(`llm.v1.result.${tenant}.${id}`, body, { headers }),
  })
  const wired = await wire({
    bus,
    jobs: { store, members: memorySettings() },
    fleet: { store: await withNeighbour(), name: 'here' },
    settings: memorySettings(),
    provider,
    loaded: loadConfig({ path: null, text: of.yaml ?? '', emergency: false }),
    configPath: null,
    clock,
    dice: seededDice(1),
    log: quiet(clock),
    http: of.http === true ? { host: '127.0.0.1', port: 0, adminToken: TOKEN } : null,
    version: '0.0.0-test',
    env: () => undefined,
    onBug(bug) {
      throw bug
    },
  })
  const heard = (): void => {}
  bus.subscribe('_INBOX.>', heard)
  bus.subscribe('llm.v1.event.>', heard)
  bus.subscribe('llm.v1.result.>', heard)
  let asked = 0
  const pass = async (ms: number, step = 50): Promise<void> => {
    await turn()
    for (let rest = ms; rest > 0; rest -= step) {
      clock.advance(Math.min(step, rest))
      await turn()
    }
  }
  return {
    wired,
    store,
    sent,
    pass,
    tell: (subject, body) => bus.publish(subject, textOf(body)),
    async ask(subject, body = '', headers = {}) {
      const reply = `_INBOX.${++asked}`
      bus.publish(subject, textOf(body), { reply, headers: Object.entries(headers) })
      await turn()
      return reply
    },
    async close() {
      const stopped = wired.stop()
      wired.hurry()
      await pass(1_000)
      await stopped
    },
  }
}

/** A whole answer, or a stream of two events. */
export const answered: Act = {
  events: ['{"type":"message_start"}', '{"type":"message_stop"}'],
  end: {
    kind: 'ok',
    status: 200,
    requestId: 'req_up',
    usage: { inputTokens: 3, outputTokens: 5, cacheCreationTokens: 0, cacheReadTokens: 0 },
    body: Buffer.from('{"type":"message","content":[]}'),
  },
}

/** Everything that follows without time has happened: microtasks go first. */
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

const textOf = (body: unknown): string => (typeof body === 'string' ? body : JSON.stringify(body))

function written(bus: Bus, sent: Sent[]): Bus {
  return {
    ...bus,
    publish(subject, data, options = {}) {
      const headers: BusHeaders = options.headers ?? []
      const body = typeof data === 'string' ? data : Buffer.from(data).toString()
      // Schedulers among themselves.
      if (!subject.startsWith('llm.v1.peer.'))
        sent.push({ subject, headers: Object.fromEntries(headers), body, reply: options.reply })
      bus.publish(subject, data, options)
    },
  }
}

const quiet = (clock: Clock) => createLog({ level: 'silent', clock, to: { write: () => {} } })

/** Another member stands in the record of the fleet, and holds nothing. */
async function withNeighbour() {
  const store = memoryFleetStore()
  const line = {
    ...{ incarnation: 'other', seq: 1, lease: 10_000, held: 0, want: 0, inflight: 0, whole: 60 },
    ...{ config: 'other', version: '0.1.0', leaving: true, limits: {} },
  }
  const record = { ...newRecord('r', true), members: { there: line } }
  await store.write(JSON.stringify(record), 0)
  return store
}
