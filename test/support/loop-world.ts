/** The loop on a hand-moved clock and a scripted provider: controllers, lifecycle, timers and answers,
 *  without a network and without waiting. */
import { Loop } from '#scheduler/loop/loop'
import type { Accounting, Refusal } from '#contracts/messages'
import type { Inspection } from '#machines/inspection'
import { seededDice } from '#core/estimators/dice'
import type { AttemptCall, Cache, HeadgateEvent, Incoming, Provider, Reply, Used } from '#ports'
import { configOf } from './core-world.ts'
import { manualClock, type ManualClock } from './manual-clock.ts'
import { scriptedProvider, type Act, type ScriptedProvider } from './scripted-provider.ts'

export interface Answered {
  how: 'answer' | 'end' | 'refuse'
  accounting: Accounting
  refusal: Refusal | null
  events: number
  /** The whole answer, or the events of a stream, as text. */
  said: string[]
}

export class LoopWorld {
  readonly clock: ManualClock = manualClock()
  readonly events: HeadgateEvent[] = []
  /** What each attempt used, as it ended. */
  readonly used: Used[] = []
  /** Every answer given, by request id; more than one is a fault. */
  readonly answers = new Map<string, Answered[]>()
  readonly provider: ScriptedProvider
  readonly loop: Loop
  bugs: unknown[] = []
  /** What the loop's clock shows beyond the hand-moved one: the machine slept, or was stepped. */
  jumpMs = 0
  #made = 0

  constructor(of: {
    file?: unknown
    script: (index: number, call: AttemptCall) => Act
    seed?: number
    /** What the clock shows when the loop begins; default 0. */
    startedAtMs?: number
    /** Instead of the scripted one. */
    provider?: Provider
    /** False: the loop has no recorder; default true. */
    recorded?: boolean
    inspection?: Inspection
    cache?: Cache
    /** Hears each event as it is recorded. */
    onEvent?: (event: HeadgateEvent) => void
    /** Hears what a port throws; absent: that is a bug too. */
    onFault?: (error: unknown) => void
  }) {
    this.provider = scriptedProvider({
      clock: this.clock,
      script: (call, index) => of.script(index, call),
    })
    this.clock.advance(of.startedAtMs ?? 0)
    this.loop = new Loop({
      config: configOf(of.file ?? {}),
      clock: { ...this.clock, now: () => this.clock.now() + this.jumpMs },
      dice: seededDice(of.seed ?? 1),
      provider: of.provider ?? this.provider,
      recorder: of.recorded === false ? null : { record: (event) => this.#record(event, of) },
      upstream: (name) => ({ name, baseUrl: 'http://x', apiKey: 'k', version: '2023-06-01' }),
      inspection: of.inspection ?? null,
      cache: of.cache ?? null,
      meter: { count: (one) => void this.used.push(one) },
      onBug: (bug) => this.bugs.push(bug),
      ...(of.onFault === undefined ? {} : { onFault: of.onFault }),
    })
  }

  request(of: Partial<Incoming> = {}): string {
    const id = of.id ?? `r${this.#made++}`
    this.loop.request({
      tenant: 'a',
      lane: 'interactive',
      model: 'm',
      stream: true,
      maxTokens: 100,
      body: new Uint8Array(100),
      deadlineMs: null,
      degrade: [],
      headers: {},
      ...of,
      id,
      reply: this.#reply(id),
    })
    return id
  }

  /** Lets `ms` pass in small steps, so that promises settle on their way. */
  async pass(ms: number, stepMs = 50): Promise<void> {
    await this.settle()
    for (let left = ms; left > 0; left -= stepMs) {
      this.clock.advance(Math.min(stepMs, left))
      await this.settle()
    }
  }

  async settle(): Promise<void> {
    for (let i = 0; i < 8; i++) await Promise.resolve()
  }

  codes(): Record<string, number> {
    const counts: Record<string, number> = {}
    for (const all of this.answers.values())
      for (const one of all) {
        const code = one.refusal?.code ?? 'completed'
        counts[code] = (counts[code] ?? 0) + 1
      }
    return counts
  }

  #record(event: HeadgateEvent, of: { onEvent?: (event: HeadgateEvent) => void }): void {
    this.events.push(event)
    of.onEvent?.(event)
  }

  #reply(id: string): Reply {
    const said: string[] = []
    const note = (one: Omit<Answered, 'events' | 'said'>): void => {
      const all = this.answers.get(id) ?? []
      all.push({ ...one, events: said.length, said })
      this.answers.set(id, all)
    }
    return {
      event: (data) => void said.push(new TextDecoder().decode(data)),
      ping: () => {},
      answer: (body, accounting) => {
        note({ how: 'answer', accounting, refusal: null })
        said.push(new TextDecoder().decode(body))
      },
      end: (accounting) => note({ how: 'end', accounting, refusal: null }),
      refuse: (refusal, accounting) => note({ how: 'refuse', accounting, refusal }),
    }
  }
}
