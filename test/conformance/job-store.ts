/** What a JobStore promises, as sentences. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { NOBODY, NO_GROUP, type JobClaim } from '#contracts/jobs'
import type {
  JobFlow,
  JobHead,
  JobResult,
  JobStore,
  Millis,
  NewJob,
  Walked,
  WalkPage,
} from '#ports'
import { heard } from '../support/heard.ts'

let made = 0
/** A flow that no other sentence uses. */
const flowOf = (): JobFlow => ({ lane: 'batch', tenant: `t${++made}` })
const newJob = (flow: JobFlow, of: Partial<NewJob> = {}): NewJob => ({
  ...{ ...flow, id: `j${++made}`, hash: 'h', group: NO_GROUP, acceptedAt: 1_767_225_600_000 },
  ...{ deadlineMs: 60_000, notBeforeMs: 0, degrade: [], maxAttempts: null, headers: {}, ...of },
})
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)
const text = (data: Uint8Array | undefined): string => new TextDecoder().decode(data)
const claimed = (by: string, of: Partial<JobClaim> = {}): JobClaim => ({
  ...{ by, claims: 1, attempts: 0, calling: false, ambiguous: 0, ...of },
})
const resultOf = ({ tenant, id, group, hash }: NewJob, body: string): JobResult => ({
  ...{ tenant, id, group, hash, body: bytes(body) },
  headers: [
    ['Headgate-Outcome', 'completed'],
    ['Nats-Service-Error-Code', '500'],
  ],
})

/** No earlier and no later than what was done, ms since 1970; the store's clock is in the same machine. */
async function stampedBetween(
  act: () => Promise<void>,
): Promise<{ after: Millis; before: Millis }> {
  const after = Date.now() - 1
  await act()
  return { after, before: Date.now() + 1 }
}

export function jobStoreConformance(
  name: string,
  make: () => Promise<{ store: JobStore; stop(): Promise<void> }>,
): void {
  describe(`job store: ${name}`, () => {
    let store: JobStore
    let stop: () => Promise<void>
    const put = async (job: NewJob, body = '{}'): Promise<number> => {
      const added = await store.add(job, bytes(body))
      if ('there' in added) throw new Error(`${job.id} is there`)
      return added.seq
    }
    beforeAll(async () => {
      ;({ store, stop } = await make())
    })
    afterAll(() => stop())

    test('a job is found by its place, its id and its turn, word for word', async () => {
      const flow = flowOf()
      const job = newJob(flow, {
        ...{ group: 'g1', degrade: ['fallback', 'cache'], maxAttempts: 2 },
        prefix: 'shared',
        headers: { version: '2023-06-01', beta: 'a,b', traceparent: '00-1-2-01' },
      })
      const seq = await put(job, '{"a":"é"}')
      for (const found of [
        await store.at(seq),
        await store.find(job.tenant, job.id),
        await store.first(flow),
      ]) {
        expect(found).toMatchObject({ ...job, seq })
        expect(text(found?.body)).toBe('{"a":"é"}')
      }
    })

    test('what is not there is null', async () => {
      const flow = flowOf()
      expect(await store.at(987_654_321)).toBeNull()
      expect(await store.find(flow.tenant, 'none')).toBeNull()
      expect(await store.first(flow)).toBeNull()
      expect(await store.claimOf(flow.tenant, 'none')).toBeNull()
      expect(await store.result(flow.tenant, 'none')).toBeNull()
    })

    test('an id is taken once by a tenant, in whatever lane and time; another tenant has its own', async () => {
      const flow = flowOf()
      const job = newJob(flow, { hash: 'first' })
      await put(job)
      for (const again of [
        { ...job, hash: 'other' },
        { ...job, lane: 'interactive' },
        { ...job, notBeforeMs: 1_000 },
      ])
        expect(await store.add(again, bytes('{}'))).toMatchObject({
          there: { id: job.id, hash: 'first', lane: 'batch' },
        })
      await put({ ...job, tenant: flowOf().tenant })
    })

    test('of one that is submitted by many at once, one is stored', async () => {
      const job = newJob(flowOf())
      const all = await Promise.all(
        Array.from({ length: 8 }, (_, at) => store.add({ ...job, hash: `h${at}` }, bytes('{}'))),
      )
      expect(all.filter((one) => 'seq' in one)).toHaveLength(1)
      const there = await store.find(job.tenant, job.id)
      for (const one of all) if ('there' in one) expect(one.there.hash).toBe(there?.hash)
    })

    test("a flow's first job is the one that was stored first, and is there still", async () => {
      const [flow, other] = [flowOf(), flowOf()]
      await put(newJob(other))
      const first = await put(newJob(flow))
      const second = await put(newJob(flow))
      expect((await store.first(flow))?.seq).toBe(first)
      await store.remove({ seq: first, revision: null })
      expect((await store.first(flow))?.seq).toBe(second)
    })

    /** All that the store has, from a place on. */
    const walked = async (from: number, count: number): Promise<Walked[]> => {
      const all: Walked[] = []
      for (let at: number | null = from; at !== null;) {
        const { found, next }: WalkPage = await store.walk(at, count)
        expect(found.length).toBeLessThanOrEqual(count)
        all.push(...found)
        at = next
      }
      return all
    }

    test.each([1, 2, 3, 100])(
      'a walk meets everything once and in its order, %d at a time',
      async (count) => {
        const flow = flowOf()
        const [now, later] = [newJob(flow), newJob(flow, { notBeforeMs: 9_000 })]
        const from = await put(now)
        const [revision] = [await store.claim(now, claimed('a'), 0)]
        const laterSeq = await put(later)
        const noted = await stampedBetween(() => store.noteFlow(flow))
        const found = await walked(from, count)
        expect(found).toEqual([
          { kind: 'job', ...flow, id: now.id, seq: from, startsAt: null, endsAt: null },
          { kind: 'claim', tenant: now.tenant, id: now.id, revision },
          {
            ...{ kind: 'job', ...flow, id: later.id, seq: laterSeq, endsAt: null },
            startsAt: later.acceptedAt + 9_000,
          },
          { kind: 'flow', flow, seq: expect.any(Number), notedAt: expect.any(Number) },
        ])
        const [first] = (await store.walk(from, 1, { deadlines: true })).found
        expect(first).toMatchObject({ kind: 'job', endsAt: now.acceptedAt + now.deadlineMs })
        const { notedAt } = found[3] as Extract<Walked, { kind: 'flow' }>
        expect(notedAt).toBeGreaterThanOrEqual(noted.after)
        expect(notedAt).toBeLessThanOrEqual(noted.before)
      },
    )

    test('what was met is met again by another walk, and what is gone is not', async () => {
      const flow = flowOf()
      const from = await put(newJob(flow))
      const second = await put(newJob(flow))
      expect(await walked(from, 1)).toHaveLength(2)
      await store.remove({ seq: from, revision: null })
      const again = await walked(from, 1)
      expect(again).toMatchObject([{ kind: 'job', seq: second }])
    })

    test('what comes while a walk is under way is met by it', async () => {
      const flow = flowOf()
      const from = await put(newJob(flow))
      await put(newJob(flow))
      const { next } = await store.walk(from, 1)
      const third = await put(newJob(flow))
      expect(await walked(next!, 1)).toMatchObject([{ kind: 'job' }, { kind: 'job', seq: third }])
    })

    test('one that may not start yet has no turn, and is found by its place', async () => {
      const flow = flowOf()
      const seq = await put(newJob(flow, { notBeforeMs: 5_000 }))
      expect(await store.first(flow)).toBeNull()
      expect(await store.at(seq)).toMatchObject({ seq, notBeforeMs: 5_000 })
    })

    test('a claim is made over the one that its writer saw, and over no other', async () => {
      const job = newJob(flowOf())
      await put(job)
      const first = await store.claim(job, claimed('a'), 0)
      expect(first).not.toBeNull()
      expect(await store.claim(job, claimed('b'), 0)).toBeNull()
      const second = await store.claim(job, claimed('a', { attempts: 1, calling: true }), first!)
      expect(await store.claim(job, claimed('b'), first!)).toBeNull()
      expect(await store.claimOf(job.tenant, job.id)).toEqual({
        claim: claimed('a', { attempts: 1, calling: true }),
        revision: second,
      })
    })

    test('of many that claim at once, one has it', async () => {
      const job = newJob(flowOf())
      await put(job)
      const all = await Promise.all(
        Array.from({ length: 8 }, (_, at) => store.claim(job, claimed(`i${at}`), 0)),
      )
      expect(all.filter((one) => one !== null)).toHaveLength(1)
    })

    test('released, it may be claimed anew; an old release takes nothing away', async () => {
      const job = newJob(flowOf())
      await put(job)
      const first = (await store.claim(job, claimed(NOBODY), 0))!
      await store.release(first)
      const second = await store.claim(job, claimed('b'), 0)
      expect(second).not.toBeNull()
      await store.release(first)
      expect((await store.claimOf(job.tenant, job.id))?.revision).toBe(second)
    })

    test('every claim is met from a revision on, with what it says', async () => {
      const [one, two] = [newJob(flowOf()), newJob(flowOf())]
      for (const job of [one, two]) await put(job)
      const revision = (await store.claim(one, claimed('a', { attempts: 2 }), 0))!
      const other = (await store.claim(two, claimed('b'), 0))!
      const first = {
        ...{ tenant: one.tenant, id: one.id, revision },
        claim: claimed('a', { attempts: 2 }),
      }
      expect(await store.heldClaims(revision, 1)).toEqual([first])
      expect(await store.heldClaims(revision, 9)).toEqual([
        first,
        { tenant: two.tenant, id: two.id, revision: other, claim: claimed('b') },
      ])
      expect(await store.heldClaims(other + 1, 9)).toEqual([])
    })

    test('a result is stored once, published once, and stays', async () => {
      const job = newJob(flowOf(), { group: 'g7', hash: 'abc' })
      const published = heard<string>()
      const stopHearing = store.onResult(job.tenant, job.id, () => published.add('once'))
      const all = await Promise.all(['x', 'y', 'z'].map((one) => store.settle(resultOf(job, one))))
      expect(all.filter((mine) => mine)).toHaveLength(1)
      await published.find(() => true)
      stopHearing()
      const kept = ['x', 'y', 'z'][all.indexOf(true)]!
      const result = await store.result(job.tenant, job.id)
      expect(result).toMatchObject({ tenant: job.tenant, id: job.id, group: 'g7' })
      expect(result?.headers).toEqual(expect.arrayContaining(resultOf(job, '').headers as never))
      expect(text(result?.body)).toBe(kept)
    })

    test('removed, the job and its claim are gone, and the id is free', async () => {
      const job = newJob(flowOf())
      const seq = await put(job)
      const revision = await store.claim(job, claimed('a'), 0)
      await store.remove({ seq, revision })
      expect(await store.find(job.tenant, job.id)).toBeNull()
      expect(await store.claimOf(job.tenant, job.id)).toBeNull()
      await store.remove({ seq, revision })
      await put(job)
    })

    test('heads come in pages, those that may start apart from those that may not', async () => {
      const flow = flowOf()
      const [a, later, b] = [
        await put(newJob(flow)),
        await put(newJob(flow, { notBeforeMs: 9_000 })),
        await put(newJob(flow)),
      ]
      const placesOf = (heads: readonly JobHead[]) => heads.map(({ seq }) => seq)
      expect(placesOf(await store.heads('now', a, 1))).toEqual([a])
      expect(placesOf(await store.heads('now', a + 1, 9))).toEqual([b])
      expect(await store.heads('now', b + 1, 9)).toEqual([])
      const waiting = await store.heads('later', a, 9)
      expect(placesOf(waiting)).toEqual([later])
      expect(waiting[0]).toMatchObject({ ...flow, notBeforeMs: 9_000, deadlineMs: 60_000 })
    })

    test('flows that were noted are known, each once', async () => {
      const flow = flowOf()
      await store.noteFlow(flow)
      await store.noteFlow(flow)
      const known = async () => (await store.flows()).filter(({ tenant }) => tenant === flow.tenant)
      expect(await known()).toEqual([flow])
    })

    test('a flow is forgotten, but not if it was noted again since', async () => {
      const [flow, from] = [flowOf(), await put(newJob(flowOf()))]
      const placeOf = async (): Promise<number> => {
        const noted = (await walked(from, 9)).find((one) => one.kind === 'flow')
        return noted!.seq
      }
      const known = async () => (await store.flows()).some(({ tenant }) => tenant === flow.tenant)
      await store.noteFlow(flow)
      const old = await placeOf()
      await store.noteFlow(flow)
      await store.forgetFlow(old)
      expect(await known()).toBe(true)
      await store.forgetFlow(await placeOf())
      expect(await known()).toBe(false)
    })

    test('what was given up is kept with its reason', async () => {
      const job = newJob(flowOf())
      const seq = await put(job, 'poison')
      const stored = (await store.at(seq))!
      await store.bury(stored, 'claims_exhausted')
      await store.bury(stored, 'claims_exhausted')
      await store.remove({ seq, revision: null })
      expect(await store.find(job.tenant, job.id)).toBeNull()
    })
  })
}
