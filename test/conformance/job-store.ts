/** What a JobStore promises, as sentences. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { NOBODY, NO_GROUP, type JobClaim } from '#contracts/jobs'
import type { JobFlow, JobHead, JobResult, JobStore, NewJob } from '#ports'
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
        headers: { version: '2023-06-01', beta: 'a,b', traceparent: '00-1-2-01' },
      })
      const seq = await put(job, '{"a":"é"}')
      for (const found of [
        await store.at(seq),
        await store.find(job.tenant, job.id),
        await store.next(flow, 0),
      ]) {
        expect(found).toMatchObject({ ...job, seq })
        expect(text(found?.body)).toBe('{"a":"é"}')
      }
    })

    test('what is not there is null', async () => {
      const flow = flowOf()
      expect(await store.at(987_654_321)).toBeNull()
      expect(await store.find(flow.tenant, 'none')).toBeNull()
      expect(await store.next(flow, 0)).toBeNull()
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

    test("a flow's jobs come in their order, from a place on, with how many stand behind", async () => {
      const [flow, other] = [flowOf(), flowOf()]
      const places: number[] = []
      for (let n = 0; n < 3; n++) {
        places.push(await put(newJob(flow)))
        await put(newJob(other))
      }
      const found: (number | undefined)[] = []
      const behind: (number | null | undefined)[] = []
      for (let from = 0; ;) {
        const job = await store.next(flow, from)
        if (job === null) break
        found.push(job.seq)
        behind.push(job.behind)
        from = job.seq + 1
      }
      expect(found).toEqual(places)
      // A server before 2.11 does not say.
      if (behind[0] !== null) expect(behind).toEqual([2, 1, 0])
    })

    test('one that may not start yet has no turn, and is found by its place', async () => {
      const flow = flowOf()
      const seq = await put(newJob(flow, { notBeforeMs: 5_000 }))
      expect(await store.next(flow, 0)).toBeNull()
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

    test('every claim is met from a revision on', async () => {
      const job = newJob(flowOf())
      await put(job)
      const revision = (await store.claim(job, claimed('a'), 0))!
      expect(await store.nextClaim(revision)).toEqual({
        ...{ tenant: job.tenant, id: job.id, revision },
      })
      expect(await store.nextClaim(revision + 1)).toBeNull()
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
      expect((await store.flows()).filter(({ tenant }) => tenant === flow.tenant)).toEqual([flow])
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
