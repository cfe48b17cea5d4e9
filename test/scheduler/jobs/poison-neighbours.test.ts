/** A job that kills whoever calls for it takes none of its neighbours along: whatever else was in a call when an
 *  instance died has one result all the same, soon enough. */
import { describe, expect, test } from 'vitest'
import { HEADER } from '#contracts/messages'
import type { JobResult } from '#ports'
import { JobWorld, type Instance } from '../../support/job-world.ts'

const OWN = ['acme', 'beta', 'coda'].flatMap((tenant) =>
  Array.from({ length: 10 }, (_, n) => ({ tenant, id: `j${n}` })),
)
const POISON = { tenant: 'acme', id: 'poison' }
const seconds = (count: number): number => count * 1_000
const RESTART = seconds(2)

const said = ({ headers }: JobResult, name: string): string | undefined =>
  headers.find(([one]) => one === name)?.[1]
const nameOf = ({ tenant, id }: { tenant: string; id: string }): string => `${tenant}/${id}`

/** Instances of which one dies so long after each begin of the poison's call; another takes its place. */
class Neighbourhood {
  readonly world: JobWorld
  readonly tookMs = new Map<string, number>()
  readonly #began = new Map<string, number>()

  constructor(of: { callMs: number; killsAfterMs: number }) {
    this.world = new JobWorld({
      seed: 1,
      act: ({ tenant, id }) => {
        const name = nameOf({ tenant, id })
        if (name === nameOf(POISON)) this.#kill(of.killsAfterMs)
        const firstByteMs = name === nameOf(POISON) ? seconds(600) : of.callMs
        return { firstByteMs, end: { kind: 'ok', status: 200, body: Buffer.from(id) } }
      },
    })
  }

  #kill(afterMs: number): void {
    const { world } = this
    const owner = world.living.find(({ jobs }) => jobs.room.owned('acme', 'poison') != null)
    world.clock.after(afterMs, () => {
      owner?.kill()
      world.clock.after(RESTART, () => void world.start())
    })
  }

  submit(to: Instance, job: { tenant: string; id: string }): void {
    this.#began.set(nameOf(job), this.world.time.now)
    void to.submit({ ...job, deadlineMs: seconds(3_600) })
  }

  async pass(ms: number): Promise<void> {
    for (const until = this.world.time.now + ms; this.world.time.now < until;) {
      await this.world.pass(100)
      for (const one of this.world.published) {
        const name = nameOf(one)
        if (!this.tookMs.has(name))
          this.tookMs.set(name, this.world.time.now - (this.#began.get(name) ?? 0))
      }
    }
  }

  /** One job every five seconds, of somebody who has nothing else. */
  async calm(): Promise<void> {
    for (let n = 0; n < 80; n++) {
      await this.pass(seconds(5))
      const [alive] = this.world.living
      if (alive !== undefined) this.submit(alive, { tenant: 'calm', id: `c${n}` })
    }
    await this.pass(seconds(120))
  }

  longest(of: (name: string) => boolean): number {
    return Math.max(...[...this.tookMs].filter(([name]) => of(name)).map(([, ms]) => ms))
  }

  /** Of all but the poison. */
  get others(): JobResult[] {
    return this.world.published.filter((one) => nameOf(one) !== nameOf(POISON))
  }
}

/** `calmMs`: the longest of who had nothing else; `ownMs`: of those that stood beside it. Measured, and a tenth more. */
describe.each([
  {
    ...{ what: 'quick calls, and it kills at once', callMs: 500, killsAfterMs: 0, instances: 2 },
    ...{ calmMs: seconds(0.7), ownMs: seconds(37) },
  },
  {
    ...{ what: 'calls of 8 s, and it kills at once', callMs: 8_000, killsAfterMs: 0, instances: 1 },
    ...{ calmMs: seconds(52), ownMs: seconds(94) },
  },
  {
    ...{ what: 'calls of 20 s, two instances', callMs: 20_000, killsAfterMs: 3_000, instances: 2 },
    ...{ calmMs: seconds(125), ownMs: seconds(380) },
  },
  {
    ...{
      what: 'calls of 20 s, three instances',
      callMs: 20_000,
      killsAfterMs: 3_000,
      instances: 3,
    },
    ...{ calmMs: seconds(70), ownMs: seconds(315) },
  },
])('a job that kills its instance each time: $what', (of) => {
  test('all others have one result, and it alone is put aside after five deaths', async () => {
    const place = new Neighbourhood(of)
    const { world } = place
    for (let n = 0; n < of.instances; n++) await world.start()
    const beside = [...OWN.slice(0, 5), POISON, ...OWN.slice(5)]
    for (const job of beside) place.submit(world.instances[0]!, job)
    await place.calm()
    expect(world.instances).toHaveLength(of.instances + 5)
    expect(world.store.dead).toMatchObject([{ reason: 'claims_exhausted', job: { id: 'poison' } }])
    const names = place.others.map(nameOf)
    expect(new Set(names).size).toBe(names.length)
    expect(names).toEqual(expect.arrayContaining(OWN.map(nameOf)))
    const outcomes = place.others.map((one) => said(one, HEADER.outcome))
    expect(new Set(outcomes)).toEqual(new Set(['completed']))
    for (const one of place.others) expect(Number(said(one, HEADER.ambiguous) ?? 0)).toBeLessThan(4)
    expect([world.store.jobs, world.store.claims, world.bugs.length]).toEqual([0, 0, 0])
    expect(place.longest((name) => name.startsWith('calm/'))).toBeLessThan(of.calmMs)
    expect(place.longest((name) => !name.startsWith('calm/'))).toBeLessThan(of.ownMs)
  })
})
