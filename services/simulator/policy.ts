/** Whoever decides when a request is sent: Headgate itself, or what people run instead of it. */
import type { Spent } from './virtual-money.ts'
import type { Config } from '#contracts/config'
import type { Seconds } from '#contracts/units'
import type { Verdict } from '#contracts/verdict'
import type { Plan } from './provider-model.ts'
import type { SimRequest } from './sim-request.ts'

export interface SchedulingPolicy {
  submit(request: SimRequest): void
  /** Nothing starts any more; what runs may end. */
  drain(): void
  /** Requests that have no outcome yet. */
  readonly live: number
  /** Slots that it would use at most now; 0: it knows no limit. */
  limit(): number
  queued(lane: string): number
  /** Broken laws, checked now; none by those who have none. */
  check(): string[]
  /** The run is over: everything must be at rest. */
  atRest(): string[]
  /** Callers take back every n-th of their live requests; nothing where nobody can. */
  cancel(everyNth: number): void
  /** Another configuration, while requests run; nothing where there is none. */
  configure(config: Config): void
  /** Tenants that it remembers. */
  readonly tenants: number
  /** Over when nothing at the present instant waits for a promise any more; null: nothing does, or nothing ever
   *  will. Absent: nothing ever does. */
  settled?(): Promise<void> | null
  /** What only some policies can tell. */
  readonly facts: PolicyFacts
}

export interface PolicyFacts {
  decreases: number
  trips: number
  /** Limits seen at each decrease: [second, limit]. */
  lowered: [at: number, limit: number][]
  /** Each death of the scheduler's process, in order. */
  deaths: Death[]
  /** Null: there are no durable jobs. */
  jobs: JobFacts | null
  /** What calls used, by tenant; null: nobody counts it. */
  spent: ReadonlyMap<string, Spent> | null
  /** Null: one instance, without a fleet. */
  fleet: FleetFacts | null
}

export const noFacts = (): PolicyFacts => ({
  ...{ decreases: 0, trips: 0, lowered: [], deaths: [], jobs: null, spent: null, fleet: null },
})

/** What one death of the process did. */
export interface Death {
  at: Seconds
  /** Until the next process stood there. */
  forS: Seconds
  /** Calls of callers that were live: their connection is gone, and their answer with it. */
  lost: number
  /** That came while nobody was there. */
  turnedAway: number
  /** Attempts of jobs that were under way, and are made again. */
  cut: number
  /** Slot-seconds of all attempts that were under way. */
  thrownAway: Seconds
}

/** Instances that share the limits of one. */
export interface FleetFacts {
  /** Slots that they divide. */
  readonly whole: number
  /** Who comes has the name of the dead. */
  readonly sameName: boolean
  /** Attempts in flight together, at most. */
  most: number
  /** Slots that the record gave away together, at most. */
  given: number
  /** Each that ever lived, in the order of coming. */
  readonly members: MemberFacts[]
  /** In the order of dying. */
  readonly kills: KillFacts[]
  /** That came while nobody was there. */
  turnedAway: number
}

export interface MemberFacts {
  readonly name: string
  readonly from: Seconds
  /** When it died; null: it has not. */
  until: Seconds | null
  /** Calls that it was asked for. */
  asked: number
  /** Times that its share ran out before it was renewed. */
  lapses: number
  /** Attempts in flight, at most. */
  most: number
}

/** What the death of one instance did to its callers; the others are served elsewhere. */
export interface KillFacts {
  readonly at: Seconds
  /** Until another stands in its place. */
  readonly forS: Seconds
  readonly member: string
  /** Callers that waited for it. Of them: asked again, broken and unanswered; the others had left before they knew. */
  lost: number
  askedAgain: number
  /** Streams that had begun. */
  broken: number
  /** No time was left to ask again, or it was the second death that the call met. */
  unanswered: number
  /** From the kill until the last of them knew; 0: there was none. */
  noticedS: Seconds
  /** Attempts under way, and their slot-seconds. */
  cut: number
  thrownAway: Seconds
}

/** Durable jobs, counted where they are stored and where their calls are made. */
export interface JobFacts {
  /** That somebody wanted stored. */
  asked: number
  /** With a receipt. */
  stored: number
  /** Never stored: refused for what they are. */
  refused: number
  /** With their one result. */
  ended: number
  /** In the store when all was over. */
  kept: number
  expired: number
  /** Neither in time nor expired: given up after their tries. */
  failed: number
  /** Taken over from a process that died. */
  takenOver: number
  /** Given back into the store by a scheduler that could not serve them. */
  returned: number
  /** Calls that ran, or were under way when the process died, beyond one for each job. */
  beyondOne: number
  /** Of those, what the results themselves tell (`Headgate-Ambiguous`). */
  told: number
  /** When the last of them ended; null: none has. */
  lastEndAt: Seconds | null
}

/** The provider as a policy sees it: attempts that report their end, and may be ended. */
export interface Wire {
  send(request: SimRequest, on: WireEvents): Attempt
}

export interface WireEvents {
  firstByte?: () => void
  ended: (verdict: Verdict) => void
}

export interface Attempt {
  readonly plan: Plan
  /** Closes the connection; `ended` comes with this verdict when that is done. */
  abort(verdict: Verdict): void
}
