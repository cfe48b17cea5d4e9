/** Instances with durable jobs over one store that outlives them, in virtual time: they are killed and frozen, the
 *  store goes away and comes back, answers of it are lost. What really ran is in the provider's own ledger. */
import { NO_GROUP } from '#contracts/jobs'
import type { Accounting, JobReceipt, Refusal } from '#contracts/messages'
import { subjects } from '#contracts/subjects'
import { seededDice } from '#core/estimators/dice'
import {
  JobStoreError,
  type AttemptCall,
  type Bus,
  type Clock,
  type Dice,
  type HeadgateEvent,
  type Incoming,
  type JobNews,
  type JobResult,
  type JobStore,
  type Provider,
  type Settings,
  type SubmittedJob,
} from '#ports'
import { wireJobs, type WiredJobs } from '#scheduler/compose/wire-jobs'
import { notedProvider } from '#scheduler/jobs/noted-provider'
import { Loop } from '#scheduler/loop/loop'
import { memoryBus } from '#scheduler/memory/bus'
import { memoryJobStore, type MemoryJobStore } from '#scheduler/memory/job-store'
import { memorySettings } from '#scheduler/memory/settings'
import { configOf } from './core-world.ts'
import { HeapClock } from './heap-clock.ts'
import { scriptedProvider, type Act } from './scripted-provider.ts'

const WALL_AT_START = 1_767_225_600_000
const FILE = {
  lanes: { batch: { timeout_ms: 600_000 }, interactive: { timeout_ms: 600_000 } },
  jobs: { window: 3, window_total: 12 },
}

export class JobWorld {
  readonly time = new HeapClock()
  readonly clock: Clock = {
    now: () => this.time.now,
    wall: () => WALL_AT_START + this.time.now + this.wallAheadMs,
    after: this.time.after,
  }
  /** The wall clock shows so much more than the truth: somebody set it. */
  wallAheadMs = 0
  readonly dice: Dice
  readonly published: JobResult[] = []
  readonly store: MemoryJobStore = memoryJobStore({
    published: (result) => this.published.push(result),
  })
  readonly members = memorySettings()
  readonly bus = memoryBus()
  /** Calls that the provider answered, by job. */
  readonly ran = new Map<string, number>()
  readonly news: JobNews[] = []
  readonly events: HeadgateEvent[] = []
  readonly bugs: unknown[] = []
  readonly instances: Instance[] = []
  /** Of an act of the store: it fails, or it is done and its answer is lost. */
  trouble = 0
  /** What the provider does with one call. */
  act: (call: AttemptCall) => Act
  #made = 0

  readonly file: object

  constructor(of: {
    seed: number
    act: (call: AttemptCall, dice: Dice) => Act
    /** More of the configuration. */
    file?: object
  }) {
    this.file = { ...FILE, ...of.file }
    this.dice = seededDice(of.seed)
    this.act = (call) => of.act(call, this.dice)
  }

  async start(): Promise<Instance> {
    const instance = new Instance(this, `i${this.#made++}`)
    this.instances.push(instance)
    await instance.open()
    return instance
  }

  get living(): Instance[] {
    return this.instances.filter(({ dead }) => !dead)
  }

  /** From timer to timer, and whatever follows from each. */
  async pass(ms: number): Promise<void> {
    const until = this.time.now + ms
    await settled()
    while (this.time.heap.next() <= until) {
      this.time.advance(Math.max(0, this.time.heap.next() - this.time.now))
      await settled()
    }
    this.time.advance(until - this.time.now)
  }

  count(kind: JobNews['kind']): number {
    return this.news.filter((one) => one.kind === kind).length
  }
}

/** A promise is seen through a chain of others: longer than any here. */
async function settled(): Promise<void> {
  for (let turn = 0; turn < 40; turn++) await Promise.resolve()
}

/** What a caller was told. */
export interface Told {
  text: string
  accounting: Accounting
  code: string | null
}

/** A process: everything that reaches it passes its gate, which a frozen one keeps shut, and a dead one for ever. */
export class Instance {
  readonly name: string
  readonly loop: Loop
  readonly jobs: WiredJobs
  dead = false
  #frozen = false
  #later: (() => void)[] = []
  readonly #world: JobWorld

  constructor(world: JobWorld, name: string) {
    this.#world = world
    this.name = name
    const { bus, bugs, news } = world
    const clock: Clock = {
      now: world.clock.now,
      wall: world.clock.wall,
      after: (ms, call) => world.clock.after(ms, () => this.pass(call)),
    }
    const dice = seededDice(Math.floor(world.dice.next() * 2 ** 31))
    this.loop = new Loop({
      config: configOf(world.file),
      clock,
      dice,
      provider: notedProvider(this.#provider(), () => this.jobs.room),
      recorder: { record: (event) => world.events.push(event) },
      deferrals: () => this.jobs.desk,
      upstream: (name) => ({ name, baseUrl: 'http://x', apiKey: 'k', version: '2023-06-01' }),
      onBug: (bug) => bugs.push(bug),
    })
    this.jobs = wireJobs({
      kept: { store: this.#store(), members: { ...world.members, ...this.#settings() } },
      loop: this.loop,
      bus: this.#bus(bus),
      subjects: subjects('llm'),
      ...{ clock, dice, instance: name },
      news: (one) => news.push(one),
      meter: { count: () => {} },
    })
  }

  open(): Promise<void> {
    return this.jobs.room.open()
  }

  /** Null: no answer came. */
  async submit(
    of: Partial<SubmittedJob> & { tenant: string; id: string },
  ): Promise<{ receipt: JobReceipt } | { refused: Refusal } | null> {
    const answer = this.jobs.desk.submit(submitted(of))
    return Promise.race([answer, this.#unanswered(30_000)])
  }

  /** A request, as one comes that is not a job. */
  ask(of: Partial<Incoming> & { id: string }): Promise<Told> {
    return new Promise((resolve) => {
      const said = (body: Uint8Array | null, accounting: Accounting, code: string | null): void =>
        resolve({ text: body === null ? '' : Buffer.from(body).toString(), accounting, code })
      this.loop.request({
        ...{ tenant: 'acme', lane: 'interactive', model: 'm', stream: false, maxTokens: 10 },
        ...{ body: bodyOf(of.id), deadlineMs: null, degrade: [], headers: {}, ...of },
        reply: {
          event: () => {},
          ping: () => {},
          answer: (body, accounting) => said(body, accounting, null),
          end: (accounting) => said(null, accounting, null),
          refuse: ({ code, message }, accounting) => said(Buffer.from(message), accounting, code),
        },
      })
    })
  }

  /** Lets nothing more in or out. */
  kill(): void {
    this.dead = true
    this.#later = []
  }

  freeze(ms: number): void {
    if (this.#frozen || this.dead) return
    this.#frozen = true
    this.#world.clock.after(ms, () => {
      this.#frozen = false
      for (const call of this.#later.splice(0)) this.pass(call)
    })
  }

  pass(call: () => void): void {
    if (this.dead) return
    if (this.#frozen) this.#later.push(call)
    else call()
  }

  #unanswered(ms: number): Promise<null> {
    return new Promise((resolve) => void this.#world.clock.after(ms, () => resolve(null)))
  }

  /** What the upstream does goes on whatever becomes of the process that asked. */
  #provider(): Provider {
    const { clock, ran } = this.#world
    const upstream = scriptedProvider({ clock, script: (call) => this.#world.act(call) })
    return {
      ...upstream,
      send: (call, sink) =>
        upstream.send(call, {
          firstByte: () => this.pass(() => sink.firstByte()),
          event: (data) => this.pass(() => sink.event(data)),
          ended: (verdict) => {
            const key = `${call.tenant}/${call.id}`
            if (verdict.kind === 'ok') ran.set(key, (ran.get(key) ?? 0) + 1)
            this.pass(() => sink.ended(verdict))
          },
        }),
    }
  }

  /** A message on its way arrives though its sender dies; the answer to a dead one does not. */
  #store(): JobStore {
    const { store } = this.#world
    const far =
      <A extends unknown[], R>(perform: (...args: A) => Promise<R>) =>
      (...args: A): Promise<R> =>
        new Promise((resolve, reject) => this.#send(() => perform(...args), resolve, reject))
    return {
      add: far(store.add),
      first: far(store.first),
      at: far(store.at),
      find: far(store.find),
      claim: far(store.claim),
      claimOf: far(store.claimOf),
      heldClaims: far(store.heldClaims),
      release: far(store.release),
      settle: far(store.settle),
      result: far(store.result),
      remove: far(store.remove),
      bury: far(store.bury),
      flows: far(store.flows),
      noteFlow: far(store.noteFlow),
      forgetFlow: far(store.forgetFlow),
      walk: far(store.walk),
      heads: far(store.heads),
      look: far(store.look),
      graves: far(store.graves),
      grave: far(store.grave),
      unbury: far(store.unbury),
      unsettle: far(store.unsettle),
      onResult: (tenant, id, call) => store.onResult(tenant, id, () => this.pass(call)),
      close: store.close,
    }
  }

  #send<R>(
    perform: () => Promise<R>,
    resolve: (value: R) => void,
    reject: (error: unknown) => void,
  ): void {
    const { dice, clock, trouble } = this.#world
    const lost = (): void =>
      void clock.after(500, () => this.pass(() => reject(new JobStoreError('away', 'no answer'))))
    if (this.dead) return
    if (dice.next() < trouble) return lost()
    clock.after(dice.next() * 5, () => {
      perform().then(
        (value) => {
          if (dice.next() < trouble) lost()
          else clock.after(dice.next() * 5, () => this.pass(() => resolve(value)))
        },
        (error: unknown) => this.pass(() => reject(error)),
      )
    })
  }

  #settings(): Pick<Settings, 'get' | 'put' | 'watch'> {
    const { members, clock, dice } = this.#world
    return {
      get: members.get,
      put: (key, value) => {
        if (this.dead || dice.next() < this.#world.trouble) return Promise.reject(new Error('away'))
        return members.put(key, value)
      },
      watch: (on) =>
        members.watch((key, value) => {
          clock.after(1, () => this.pass(() => on(key, value)))
        }),
    }
  }

  #bus(bus: Bus): Bus {
    return {
      ...bus,
      publish: (...args) => void (this.dead || bus.publish(...args)),
      subscribe: (subject, onMessage, options) =>
        bus.subscribe(subject, (message) => this.pass(() => onMessage(message)), options),
    }
  }
}

export function submitted(
  of: Partial<SubmittedJob> & { tenant: string; id: string },
): SubmittedJob {
  const body = of.body ?? bodyOf(of.id)
  return {
    lane: 'batch',
    model: 'm',
    stream: false,
    maxTokens: 10,
    deadlineMs: null,
    degrade: [],
    headers: {},
    named: true,
    notBeforeMs: 0,
    group: NO_GROUP,
    ...of,
    body,
  }
}

export const bodyOf = (words: string): Uint8Array =>
  Buffer.from(
    JSON.stringify({ model: 'm', max_tokens: 10, messages: [{ role: 'user', content: words }] }),
  )
