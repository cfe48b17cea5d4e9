/** A process of the scheduler in virtual time: the same loop, core and machines as the service, and the same room of
 *  jobs where there are any. When it dies, no timer of it fires any more. */
import type { Config } from '#contracts/config'
import { seededDice } from '#core/estimators/dice'
import type { Clock, Millis, Provider, Recorder } from '#ports'
import { notedProvider, type Notes } from '#scheduler/jobs/noted-provider'
import type { FleetNews } from '#scheduler/loop/fleet-news'
import { Loop } from '#scheduler/loop/loop'
import type { DurableJobs } from './durable-jobs.ts'
import type { VirtualMoney } from './virtual-money.ts'

const UPSTREAM = { name: 'virtual', baseUrl: 'http://virtual', apiKey: null, version: '2023-06-01' }
/** Between the dice of one process and of the next, and those of the room. */
const APART = { processes: 0x9e3779b1, rooms: 0x85ebca6b }

export class Instance {
  readonly loop: Loop
  #dead = false

  constructor(of: {
    config: Config
    seed: number
    /** The how-many-th it is; the first is 0. */
    number: number
    clock: Clock
    provider: Provider
    recorder: Recorder | null
    jobs: DurableJobs | null
    money: VirtualMoney
    onBug: (bug: unknown) => void
    tell: (news: FleetNews) => void
  }) {
    const { jobs, number } = of
    const seed = (of.seed + Math.imul(number, APART.processes)) >>> 0
    const clock: Clock = {
      now: () => of.clock.now(),
      wall: () => of.clock.wall(),
      after: (ms: Millis, call) => of.clock.after(ms, () => void (this.#dead || call())),
    }
    let notes: Notes | null = null
    this.loop = new Loop({
      ...{ config: of.config, clock, recorder: of.recorder, onBug: of.onBug },
      dice: seededDice(seed),
      provider: jobs === null ? of.provider : notedProvider(of.provider, () => notes),
      upstream: () => UPSTREAM,
      allowances: of.money.keeper(() => this.loop),
      meter: of.money.meter,
      tell: of.tell,
    })
    if (jobs === null) return
    notes = jobs.begin({
      ...{ loop: this.loop, clock, name: `i${number}` },
      dice: seededDice((seed ^ APART.rooms) >>> 0),
    })
  }

  die(): void {
    this.#dead = true
  }
}
