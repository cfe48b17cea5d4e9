/** What may happen to a fleet: each fault begins, lasts and is healed by itself. Who is hurt is drawn from the dice
 *  among those that nothing else hurts just now. */
import type { Dice } from '#core/estimators/dice'
import { SHARES, type ChaosFleet, type ChaosMember } from './chaos-fleet.ts'

/** Under a lease of 10 s: what is shorter, what is longer, and what outlives all that others wait for but the safe
 *  part. */
export const SHORT_MS = 4_000
export const LONG_MS = 14_000
export const LONGEST_MS = 50_000
const CROWD = 5
const LOOK_MS = 500
const DELETE_WITHIN = { tries: 10, everyMs: 1_000 }

export interface Storm {
  readonly fleet: ChaosFleet
  readonly dice: Dice
  readonly pause: (ms: number) => Promise<void>
  /** Hears what begins. */
  readonly tell: (words: string) => void
  /** A member that was started wants so many calls. */
  readonly wants: () => number
  /** Names of those that something hurts now. */
  readonly hurt: Set<string>
  /** Whole crowds that have come. */
  crowds: number
}

export type Fault = (storm: Storm) => Promise<void>

const NATS = 'nats'

const onMember =
  (words: string, does: (member: ChaosMember, storm: Storm) => Promise<void>): Fault =>
  async (storm) => {
    const free = storm.fleet.members.filter((one) => one.alive && !storm.hurt.has(one.name))
    const member = free[Math.floor(storm.dice.next() * free.length)]
    if (member === undefined) return
    await during(storm, member.name, async () => {
      storm.tell(`${member.name} ${words}`)
      await does(member, storm)
    })
  }

/** Skipped where something hurts it already. */
async function during(storm: Storm, name: string, does: () => Promise<void>): Promise<void> {
  if (storm.hurt.has(name)) return
  storm.hurt.add(name)
  try {
    await does()
  } finally {
    storm.hurt.delete(name)
  }
}

export const cut = (ms: number): Fault =>
  onMember(`is cut from NATS for ${ms / 1_000} s`, async ({ wires }, { pause }) => {
    wires.cut()
    await pause(ms)
    wires.heal()
  })

/** What it has sent comes when it heals. */
export const stall = (ms: number): Fault =>
  onMember(`hears and says nothing for ${ms / 1_000} s`, async ({ wires }, { pause }) => {
    wires.stall()
    await pause(ms)
    wires.heal()
  })

export const slow = (lateMs: number, ms: number): Fault =>
  onMember(`is ${lateMs} ms from NATS for ${ms / 1_000} s`, async ({ wires }, { pause }) => {
    wires.slow(lateMs)
    await pause(ms)
    wires.heal()
  })

export const freeze = (ms: number): Fault =>
  onMember(`stands still for ${ms / 1_000} s`, async (member, { pause }) => {
    member.freeze()
    await pause(ms)
    member.goOn()
  })

export const killAndStart = (ms: number): Fault =>
  onMember(`is killed, and starts ${ms / 1_000} s later`, async (member, { pause, wants }) => {
    await member.kill()
    await pause(ms)
    await member.start()
    member.wants = wants()
  })

/** So many of the three nats-servers. */
export const killServers =
  (many: 1 | 2, ms: number): Fault =>
  (storm) =>
    during(storm, NATS, async () => {
      const { cluster } = storm.fleet
      const first = Math.floor(storm.dice.next() * cluster.ports.length)
      const which = Array.from({ length: many }, (_, i) => (first + i) % cluster.ports.length)
      storm.tell(`nats ${which.join(' and ')} killed for ${ms / 1_000} s`)
      await Promise.all(which.map((one) => cluster.kill(one)))
      await storm.pause(ms)
      await Promise.all(which.map((one) => cluster.start(one)))
    })

/** Members that start in the same second, and leave after a while. */
export const crowd =
  (ms: number): Fault =>
  (storm) =>
    during(storm, 'crowd', async () => {
      storm.tell(`${CROWD} members start, and leave after ${ms / 1_000} s`)
      const names = Array.from({ length: CROWD }, (_, i) => `c${storm.crowds}-${i}`)
      storm.crowds++
      const all = await Promise.all(
        names.map(async (name) => {
          const member = await storm.fleet.join(name)
          member.wants = storm.wants()
          return member
        }),
      )
      await storm.pause(ms)
      await Promise.all(
        all.map(async (one) => {
          while (storm.hurt.has(one.name)) await storm.pause(LOOK_MS)
          await one.leave()
        }),
      )
    })

/** The record of the fleet is gone, with its bucket; tried again where the cluster has no leader. */
export const deleteRecord: Fault = (storm) =>
  during(storm, 'record', async () => {
    storm.tell('the record of the fleet is deleted')
    for (let tried = 0; tried < DELETE_WITHIN.tries; tried++) {
      try {
        return await storm.fleet.cluster.deleteStream(SHARES)
      } catch {
        await storm.pause(DELETE_WITHIN.everyMs)
      }
    }
    storm.tell('it could not be deleted')
  })

/** One of each is as likely as any other. */
export const FAULTS: readonly Fault[] = [
  ...[SHORT_MS, LONG_MS, LONGEST_MS].map(cut),
  ...[SHORT_MS, LONG_MS].map(stall),
  slow(300, 20_000),
  ...[1_000, 8_000, 40_000].map(freeze),
  ...[500, 5_000].map(killAndStart),
  killServers(1, 10_000),
  killServers(2, 6_000),
  crowd(25_000),
  deleteRecord,
]
