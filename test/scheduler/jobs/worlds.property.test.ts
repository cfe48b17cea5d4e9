/** Random worlds of durable jobs: instances are killed and frozen, the store goes away, answers are lost. When all
 *  faults are over, nothing that was accepted is lost, each job has one result, and nothing is held. */
import { expect, test } from 'vitest'
import { HEADER } from '#contracts/messages'
import type { AttemptCall, Dice, JobResult } from '#ports'
import { JobWorld } from '../../support/job-world.ts'
import type { Act } from '../../support/scripted-provider.ts'

/** Runs in `npm test`; HEADGATE_RUNS raises it. */
const WORLDS = Math.ceil(Number(process.env['HEADGATE_RUNS'] ?? 400) / 16)
const JOBS = 40
/** Faults come and go in this time. */
const TURMOIL = 90_000
/** The longest deadline of a lane, then a while to clean up. */
const CALM = 700_000
const TENANTS = ['acme', 'globex', 'initech']

const service = (dice: Dice): number => 100 + dice.next() * dice.next() * 8_000

function act({ id }: AttemptCall, dice: Dice): Act {
  const roll = dice.next()
  const firstByteMs = service(dice)
  if (roll < 0.8) return { firstByteMs, end: { kind: 'ok', status: 200, body: Buffer.from(id) } }
  if (roll < 0.9) return { firstByteMs: 50, end: { kind: 'overloaded', status: 529 } }
  if (roll < 0.95) return { firstByteMs, end: { kind: 'broken', cause: 'reset' } }
  return { firstByteMs: 50, end: { kind: 'rejected', status: 400, mayHaveRun: false } }
}

interface Asked {
  tenant: string
  id: string
  lane: string
  accepted: boolean
  deadlineMs: number | null
  acceptedAt: number
}

async function turmoil(world: JobWorld): Promise<Asked[]> {
  const { dice, clock } = world
  const asked: Asked[] = []
  const pick = <T>(of: readonly T[]): T => of[Math.floor(dice.next() * of.length)]!
  const at = (ms: number, call: () => void) => void clock.after(ms, call)
  const anytime = (call: () => void) => at(dice.next() * TURMOIL, call)

  /** As a caller does that was not answered: the same again, wherever somebody listens. */
  const submit = async (job: Asked, notBeforeMs: number): Promise<void> => {
    const instance = world.living.length === 0 ? null : pick(world.living)
    const answer = (await instance?.submit({ ...job, notBeforeMs })) ?? null
    if (answer !== null && 'receipt' in answer) {
      job.accepted = true
      job.acceptedAt = clock.now()
    } else if (answer === null || answer.refused.code === 'queue_full')
      at(1_000, () => void submit(job, notBeforeMs))
    else throw new Error(`${job.id}: ${answer.refused.code}: ${answer.refused.message}`)
  }

  for (let n = 0; n < JOBS; n++) {
    const deadlineMs = dice.next() < 0.2 ? 5_000 + dice.next() * 60_000 : null
    const job: Asked = {
      ...{ tenant: pick(TENANTS), id: `j${n}`, accepted: false, deadlineMs, acceptedAt: 0 },
      lane: pick(['batch', 'batch', 'interactive']),
    }
    asked.push(job)
    const notBeforeMs = dice.next() < 0.15 ? 1 + dice.next() * 4_000 : 0
    anytime(() => void submit(job, notBeforeMs))
    // Some come twice, some are taken back.
    if (dice.next() < 0.2) anytime(() => void (job.accepted && submit(job, notBeforeMs)))
    if (dice.next() < 0.1)
      anytime(() => {
        for (const { loop, jobs } of world.living)
          if (loop.cancel(job.tenant, job.id) === null)
            void jobs.desk.cancel(job.tenant, job.id).catch(() => {})
      })
  }
  for (let n = 0; n < 12; n++) {
    const id = `d${n}`
    anytime(() => {
      if (world.living.length === 0) return
      void pick(world.living)
        .ask({ id, degrade: ['defer'], maxAttempts: 1 })
        .then(({ accounting }) => {
          if (accounting.outcome === 'deferred') asked.push(acceptedAs(id))
        })
    })
  }
  for (let n = 0; n < 4; n++) {
    anytime(() => {
      pick(world.living)?.kill()
      at(dice.next() * 5_000, () => void world.start())
    })
    anytime(() => pick(world.living)?.freeze(dice.next() * 40_000))
    anytime(() => {
      world.trouble = 0.05 + dice.next() * 0.6
      at(dice.next() * 10_000, () => (world.trouble = 0))
    })
    anytime(() => void (world.living.length < 3 && world.start()))
  }
  await world.start()
  await world.pass(TURMOIL)
  return asked
}

const acceptedAs = (id: string): Asked => ({
  ...{ tenant: 'acme', id, lane: 'batch', accepted: true, deadlineMs: null, acceptedAt: 0 },
})

/** Times that a job ran beyond the once that it should. */
const beyondOnce = (world: JobWorld): number =>
  [...world.ran.values()].reduce((sum, times) => sum + times - 1, 0)

const said = ({ headers }: JobResult, name: string): string | undefined =>
  headers.find(([one]) => one === name)?.[1]

test(`${WORLDS} worlds of ${JOBS} jobs: nothing is lost, nothing has two results`, async () => {
  let extra = 0
  let deferred = 0
  for (let seed = 1; seed <= WORLDS; seed++) {
    const world = new JobWorld({ seed, act })
    const asked = await turmoil(world)
    world.trouble = 0
    if (world.living.length === 0) await world.start()
    await world.pass(CALM)

    const say = `world ${seed}`
    expect(world.bugs, say).toEqual([])
    const done = new Map(world.published.map((one) => [`${one.tenant}/${one.id}`, one]))
    expect(world.published.length, `${say}: one result each`).toBe(done.size)
    for (const job of asked) {
      expect(job.accepted, `${say}: ${job.id} accepted`).toBe(true)
      const result = done.get(`${job.tenant}/${job.id}`)
      expect(result, `${say}: ${job.id} has a result`).toBeDefined()
      if (said(result!, HEADER.outcome) !== 'completed') continue
      expect(Buffer.from(result!.body).toString(), say).toBe(job.id)
    }
    // One that was deferred when its instance died was told to nobody, and has a result all the same.
    expect(done.size, say).toBeGreaterThanOrEqual(asked.length)
    expect([world.store.jobs, world.store.claims], `${say}: left in the store`).toEqual([0, 0])
    for (const { name, loop, jobs } of world.living) {
      const { backlog, delayed } = jobs.room
      const flows = [...backlog.flows.values()]
      expect(
        {
          live: loop.liveCount,
          waiting: backlog.waiting,
          bytes: backlog.bytes,
          delayed: delayed.size,
          flows: flows.map(({ waiting, taken }) => waiting + taken).filter((n) => n !== 0),
          counts: jobs.room.counts(),
        },
        `${say}: held by ${name}`,
      ).toEqual({
        ...{ live: 0, waiting: 0, bytes: 0, delayed: 0, flows: [] },
        counts: { waiting: 0, calling: 0, settling: 0 },
      })
    }
    const more = beyondOnce(world)
    extra += more
    deferred += asked.length - JOBS
    const told = world.published.reduce(
      (sum, one) => sum + Number(said(one, HEADER.ambiguous) ?? 0),
      0,
    )
    expect(more, `${say}: each call beyond one is told`).toBeLessThanOrEqual(told)
  }
  // Else the worlds are too kind to show anything.
  expect(extra).toBeGreaterThan(0)
  expect(deferred).toBeGreaterThan(0)
}, 600_000)
