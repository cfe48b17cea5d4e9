/** Half the price: jobs that can wait go to the provider as one batch, and each has one result, whatever happens on
 *  the way. All in virtual time. */
import { describe, expect, test } from 'vitest'
import { heldByBatch, NOBODY } from '#contracts/jobs'
import { CREATE_WITHIN } from '#core/laws/batches'
import { GatherWorld, HOUR, LIMITS, MINUTE } from '../../support/gather-world.ts'

const ASK = { upstream: { name: 'x', baseUrl: 'x', apiKey: 'x', version: 'x' }, headers: {} }

const named = (count: number, how: string): Record<string, string> =>
  Object.fromEntries(Array.from({ length: count }, (_, i) => [`j${i}`, how]))

/** Nothing is left of jobs that are over: no job, no claim, no note. */
async function expectNothingLeft(world: GatherWorld, count: number): Promise<void> {
  expect(world.store.jobs).toBe(0)
  expect(world.gatherings.noted.size).toBe(0)
  for (let i = 0; i < count; i++) expect(await world.store.claimOf('acme', `j${i}`)).toBeNull()
}

test('jobs that waited go as one batch, and each has its own answer, served by batch', async () => {
  const world = new GatherWorld()
  const a = world.instance('a')
  await world.jobs(5)
  await world.pass(LIMITS.waitMs - 5_000)
  expect(world.gatherings.noted.size).toBe(0)
  await world.until(() => world.settled === 5)
  expect(world.batches.creates).toBe(1)
  expect(world.ends()).toEqual(named(5, 'batch'))
  expect(world.answered()).toEqual(
    Object.fromEntries(Object.keys(named(5, '')).map((id) => [id, id])),
  )
  expect(world.said(a)).toEqual(['created', 'ended'])
  expect(world.used.map(({ kind, usage }) => [kind, usage?.outputTokens])).toEqual(
    Array.from({ length: 5 }, () => ['batch', 12]),
  )
  await world.pass(MINUTE)
  await expectNothingLeft(world, 5)
  const { headers } = [...world.store.results.values()][0]!
  expect(Object.fromEntries(headers)).toMatchObject({
    'Headgate-Attempts': '1',
    'Headgate-Model': 'claude-a',
    'Headgate-Served-By': 'batch',
    'Headgate-Output-Tokens': '12',
  })
})

test('while it is in a batch a job is claimed by the gathering and by no instance', async () => {
  const world = new GatherWorld()
  world.instance('a')
  await world.jobs(1)
  await world.until(() => world.batches.creates === 1)
  const [id = ''] = world.gatherings.noted.keys()
  expect((await world.store.claimOf('acme', 'j0'))?.claim).toMatchObject({ by: heldByBatch(id) })
  expect(world.gatherings.noted.get(id)?.gathering).toMatchObject({
    ...{ state: 'created', by: 'a', batch: 'msgbatch_1', found: false },
  })
})

test('who may not wait, or may not be there, is left in line', async () => {
  const world = new GatherWorld()
  world.instance('a', { denies: 'strict', models: 'claude-a' })
  await world.job('near', { deadlineMs: 23 * HOUR })
  await world.job('later', { notBeforeMs: 20 * HOUR })
  await world.job('denied', { tenant: 'strict' })
  await world.job('other-model', { model: 'claude-b' })
  await world.job('attempted')
  const claim = { by: NOBODY, claims: 1, attempts: 1, calling: false, ambiguous: 0 }
  await world.store.claim({ tenant: 'acme', id: 'attempted' }, claim, 0)
  await world.job('taken')
  await world.store.claim({ tenant: 'acme', id: 'taken' }, { ...claim, by: 'b', attempts: 0 }, 0)
  await world.pass(2 * HOUR, 5_000)
  expect(world.batches.creates).toBe(0)
  await world.job('may')
  await world.until(() => world.settled === 1)
  expect(world.ends()).toEqual({ may: 'batch' })
})

test('a job that waits in our own line leaves it for the batch, and one whose turn has come stays', async () => {
  const world = new GatherWorld()
  const a = world.instance('a')
  await world.jobs(2)
  const claim = { by: 'a', claims: 1, attempts: 0, calling: false, ambiguous: 0 }
  for (const id of ['j0', 'j1'])
    await world.store.claim({ tenant: 'acme', id }, claim, 0).then((revision) => {
      a.lent.set(id, id === 'j0' ? { claim, revision: revision! } : 'busy')
    })
  await world.until(() => world.settled === 1)
  await world.pass(HOUR, 5_000)
  expect(world.ends()).toEqual({ j0: 'batch' })
  expect((await world.store.claimOf('acme', 'j1'))?.claim).toEqual(claim)
})

test('one batch has one model, one version and one set of betas, and no more jobs than it may', async () => {
  const world = new GatherWorld({ entriesMax: 3 })
  world.instance('a')
  await world.jobs(7)
  await world.job('b', { model: 'claude-b' })
  await world.job('v', { headers: { version: '2026-10-21' } })
  await world.job('beta', { headers: { beta: 'files' } })
  await world.until(() => world.settled === 10)
  const sizes = new Map<string, number>()
  for (const { batch } of world.batches.executed) sizes.set(batch, (sizes.get(batch) ?? 0) + 1)
  expect([...sizes.values()].toSorted()).toEqual([1, 1, 1, 1, 3, 3])
})

test('two instances gather each job once', async () => {
  const world = new GatherWorld()
  world.instance('a')
  world.instance('b')
  await world.jobs(20)
  await world.until(() => world.settled === 20)
  await world.pass(2 * HOUR, 5_000)
  expect(new Set(Object.values(world.executions()))).toEqual(new Set([1]))
})

test('no more batches than may be open are made, and the rest waits', async () => {
  const world = new GatherWorld({ entriesMax: 2, openMax: 2 })
  world.instance('a')
  world.batches.takesMs = HOUR
  await world.jobs(6)
  await world.until(() => world.batches.creates === 2)
  await world.pass(50 * MINUTE, 5_000)
  expect(world.batches.creates).toBe(2)
  await world.until(() => world.settled === 6)
})

describe('a create', () => {
  test('that is refused puts its jobs back in line, and rests for as long as was asked', async () => {
    const world = new GatherWorld()
    world.batches.createFaults.push('refused_429', 'refused_529')
    const a = world.instance('a')
    await world.jobs(2)
    await world.until(() => world.batches.creates === 1)
    await world.pass(1_000)
    expect(a.back.toSorted()).toEqual(['j0', 'j1'])
    expect(await world.store.claimOf('acme', 'j0')).toBeNull()
    expect(world.gatherings.noted.size).toBe(0)
    await world.until(() => world.settled === 2)
    expect(world.batches.creates).toBe(3)
    expect(world.said(a)).toEqual(['refused', 'refused', 'created', 'ended'])
  })

  test('that was not answered is found in the list, and made once', async () => {
    const world = new GatherWorld()
    world.batches.createFaults.push('lost')
    world.batches.listedAfterMs = 2 * MINUTE
    const a = world.instance('a')
    await world.jobs(4)
    await world.until(() => world.settled === 4)
    expect(world.batches.creates).toBe(1)
    expect(world.said(a)).toEqual(['unanswered', 'found', 'ended'])
    expect(world.answered()).toEqual({ j0: 'j0', j1: 'j1', j2: 'j2', j3: 'j3' })
  })

  test('that was not answered and not carried out is made again, and not before it was looked for', async () => {
    const world = new GatherWorld()
    world.batches.createFaults.push('not_sent')
    const a = world.instance('a')
    await world.jobs(2)
    await world.until(() => world.batches.creates === 1)
    await world.pass(LIMITS.findMs - 10_000)
    expect(world.batches.creates).toBe(1)
    await world.until(() => world.settled === 2)
    expect(world.batches.creates).toBe(2)
    expect(world.said(a)).toEqual(['unanswered', 'not_made', 'created', 'ended'])
  })

  test('is noted again where the store took long: another may have concluded that nothing was made', async () => {
    const world = new GatherWorld()
    const put = world.gatherings.put
    const notedAt: number[] = []
    world.gatherings.put = async (gathering, over) => {
      if (gathering.state === 'creating') notedAt.push(gathering.at)
      if (notedAt.length === 1 && gathering.state === 'creating')
        await new Promise<void>((resolve) => void world.clock.after(MINUTE, resolve))
      return put(gathering, over)
    }
    world.instance('a')
    await world.jobs(1)
    await world.until(() => world.batches.creates === 1)
    expect(notedAt).toHaveLength(2)
    const [{ createdAt } = { createdAt: NaN }] = await world.batches.list(ASK, 0)
    expect(createdAt - notedAt[1]!).toBeLessThanOrEqual(CREATE_WITHIN)
  })

  test('is not taken for another of the same size, whose results say whose it is', async () => {
    const world = new GatherWorld()
    world.batches.createFaults.push('lost')
    const a = world.instance('a')
    await world.jobs(1)
    await world.until(() => world.gatherings.noted.size === 1)
    // Somebody else of the account, just then.
    const stranger = { customId: 'theirs', body: Buffer.from('{"id":"stranger"}'), stream: false }
    world.batches.createFaults.splice(0)
    await world.batches.create(ASK, [stranger])
    await world.until(() => world.settled === 1)
    expect(world.answered()).toEqual({ j0: 'j0' })
    expect(world.executions()).toEqual({ j0: 1, stranger: 1 })
    expect(world.said(a)).not.toContain('given_up')
  })

  test('that only a stranger’s batch resembles is made again once that is known', async () => {
    const world = new GatherWorld()
    const a = world.instance('a')
    world.batches.createFaults.push('not_sent')
    await world.jobs(1)
    await world.until(() => world.batches.creates === 1)
    const stranger = { customId: 'theirs', body: Buffer.from('{"id":"stranger"}'), stream: false }
    await world.batches.create(ASK, [stranger])
    await world.until(() => world.settled === 1)
    expect(world.said(a)).toEqual([
      ...['unanswered', 'found', 'not_ours', 'not_made', 'created', 'ended'],
    ])
    expect(world.executions()).toEqual({ j0: 1, stranger: 1 })
  })
})

describe('results', () => {
  test('that break off are read again, and nothing is settled twice', async () => {
    const world = new GatherWorld()
    world.batches.cutsAfter.push(2, 0, 5)
    const a = world.instance('a')
    await world.jobs(8)
    await world.until(() => world.settled === 8)
    await world.pass(MINUTE)
    expect(a.errors.length).toBe(3)
    expect(a.news.filter(({ kind }) => kind === 'late_result')).toEqual([])
    await expectNothingLeft(world, 8)
  })

  test('of a job that was cancelled meanwhile are dropped', async () => {
    const world = new GatherWorld()
    world.instance('a')
    await world.jobs(2)
    await world.until(() => world.batches.creates === 1)
    const job = (await world.store.find('acme', 'j0'))!
    const revision = (await world.store.claimOf('acme', 'j0'))!.revision
    const { tenant, id, group, hash } = job
    const headers = [['Headgate-Outcome', 'cancelled']] as const
    await world.store.settle({ tenant, id, group, hash, headers, body: Buffer.from('{}') })
    await world.store.remove({ seq: job.seq, revision })
    await world.until(() => world.settled === 2)
    await world.pass(HOUR, 5_000)
    expect(world.ends()).toEqual({ j0: 'cancelled', j1: 'batch' })
  })

  test('in the hands of a store that is away are stored when it is back', async () => {
    const world = new GatherWorld()
    world.instance('a')
    await world.jobs(3)
    await world.until(() => world.batches.creates === 1)
    world.store.trouble = 'away'
    await world.pass(30 * MINUTE, 5_000)
    world.store.trouble = null
    await world.until(() => world.settled === 3)
    await world.pass(MINUTE)
    await expectNothingLeft(world, 3)
  })

  test('of a provider that is away are read when it is back', async () => {
    const world = new GatherWorld()
    world.instance('a')
    await world.jobs(3)
    await world.until(() => world.batches.creates === 1)
    world.batches.away = true
    await world.pass(3 * HOUR, 5_000)
    world.batches.away = false
    await world.until(() => world.settled === 3)
  })
})

describe('an entry', () => {
  test('whose turn never came is sent once more', async () => {
    const world = new GatherWorld()
    world.batches.end = ({ customId }) => (customId.includes('-1-') ? 'expired' : 'succeeded')
    const a = world.instance('a')
    await world.jobs(3)
    await world.until(() => world.settled === 3)
    expect(world.batches.creates).toBe(2)
    expect(world.ends()).toEqual(named(3, 'batch'))
    expect(world.said(a)).toEqual(['created', 'ended', 'again', 'created', 'ended'])
  })

  test('whose turn never came twice is given up, told so, and kept for an operator', async () => {
    const world = new GatherWorld()
    world.batches.end = ({ body }) => (Buffer.from(body).includes('"j1"') ? 'expired' : 'succeeded')
    world.instance('a')
    await world.jobs(2)
    await world.until(() => world.settled === 2)
    await world.pass(2 * HOUR, 5_000)
    expect(world.batches.creates).toBe(2)
    expect(world.ends()).toEqual({ j0: 'batch', j1: 'refused' })
    expect(world.store.dead).toMatchObject([{ job: { id: 'j1' }, reason: 'retries_exhausted' }])
    await expectNothingLeft(world, 2)
  })

  test('that the provider refuses has that error as its result', async () => {
    const world = new GatherWorld()
    world.batches.end = () => 'invalid'
    world.instance('a')
    await world.jobs(1)
    await world.until(() => world.settled === 1)
    const [result] = world.store.results.values()
    expect(JSON.parse(Buffer.from(result!.body).toString())).toMatchObject({
      error: { type: 'invalid_request_error', message: 'the test says so' },
      headgate: { code: 'upstream_error', retryable: false, attempts: 1 },
    })
    expect(Object.fromEntries(result!.headers)).toMatchObject({ 'Nats-Service-Error-Code': '400' })
  })

  test('that failed through the server goes in line, with its attempt, and into no batch again', async () => {
    const world = new GatherWorld()
    world.batches.end = () => 'errored'
    const a = world.instance('a')
    await world.jobs(1)
    await world.until(() => a.back.length > 0)
    await world.pass(2 * HOUR, 5_000)
    expect(world.batches.creates).toBe(1)
    expect((await world.store.claimOf('acme', 'j0'))?.claim).toEqual({
      ...{ by: NOBODY, claims: 1, attempts: 1, calling: false, ambiguous: 0 },
    })
  })
})

test('a batch that takes too long is cancelled in time, and what it has not done goes in line', async () => {
  const world = new GatherWorld()
  world.batches.takesMs = 200 * HOUR
  const a = world.instance('a')
  await world.jobs(4)
  const start = world.clock.wall()
  await world.until(() => a.back.length === 4)
  const left = 24 * HOUR - (world.clock.wall() - start)
  expect(left).toBeGreaterThan(LIMITS.reserveMs - 10 * MINUTE)
  expect(left).toBeLessThanOrEqual(LIMITS.reserveMs)
  expect(world.said(a)).toEqual(['created', 'given_up', 'ended'])
  await world.pass(HOUR, 5_000)
  // There is no time for another batch.
  expect(world.batches.creates).toBe(1)
})

test('a batch that was found in the list is not cancelled: it may be of somebody else', async () => {
  const world = new GatherWorld()
  world.batches.createFaults.push('lost')
  world.batches.takesMs = 23 * HOUR
  const a = world.instance('a')
  await world.jobs(2)
  await world.until(() => world.settled === 2)
  expect(world.said(a)).toEqual(['unanswered', 'found', 'ended'])
  expect(world.ends()).toEqual(named(2, 'batch'))
})

test('an instance that stops leaves what is sent to another, and what is not sent to the line', async () => {
  const world = new GatherWorld()
  const a = world.instance('a')
  await world.jobs(2)
  await world.until(() => world.batches.creates === 1)
  await a.gatherer.close()
  await world.pass(HOUR, 5_000)
  expect(world.settled).toBe(0)
  expect(a.gatherer.counts()).toEqual({ batches: 0, jobs: 0 })
  // As the fleet is told when an instance leaves.
  world.instances[0] = { ...a, killed: () => true }
  const b = world.instance('b')
  await world.until(() => world.settled === 2)
  expect(world.said(b)).toEqual(['adopted', 'ended'])
  expect(world.executions()).toEqual({ j0: 1, j1: 1 })
})

const lives: readonly (readonly [string, (world: GatherWorld) => void])[] = [
  ['a plain batch', () => {}],
  [
    'a create that is not answered',
    (world: GatherWorld) => void world.batches.createFaults.push('lost'),
  ],
  [
    'entries that are sent again',
    (world: GatherWorld) => {
      world.batches.end = ({ customId }) => (customId.includes('-1-') ? 'expired' : 'succeeded')
    },
  ],
  ['results that break off', (world: GatherWorld) => void world.batches.cutsAfter.push(1)],
]

/** The same life, with the instance killed at each of its calls, before it and after it. */
describe.each(lives)('killed anywhere on its way, %s', (_what, prepare) => {
  const life = async (killAt: number, kill: 'before' | 'after') => {
    const world = new GatherWorld({ findMs: 5 * MINUTE, gatherMs: MINUTE, waitMs: MINUTE })
    world.batches.takesMs = MINUTE
    prepare(world)
    const a = world.instance('a', { killAt, kill })
    await world.jobs(3)
    await world.until(() => a.killed() || world.settled === 3)
    if (!a.killed()) await world.pass(MINUTE)
    const survived = !a.killed()
    a.gatherer.stop()
    world.instances[0] = { ...a, killed: () => true }
    world.instance('b')
    await world.until(() => world.settled === 3 && world.gatherings.noted.size === 0)
    return { world, survived, calls: a.calls() }
  }

  test.each(['before', 'after'] as const)(
    'each job ran once and has its one result: %s the call',
    async (kill) => {
      let killAt = 1
      for (;;) {
        const { world, survived } = await life(killAt, kill)
        const at = `killed ${kill} call ${killAt}`
        expect({ at, ran: world.executions() }).toEqual({ at, ran: { j0: 1, j1: 1, j2: 1 } })
        expect({ at, ends: world.ends() }).toEqual({ at, ends: named(3, 'batch') })
        expect({ at, to: world.answered() }).toEqual({ at, to: { j0: 'j0', j1: 'j1', j2: 'j2' } })
        await expectNothingLeft(world, 3)
        if (survived) break
        killAt += 1
      }
      // It was killed often enough to have been everywhere.
      expect(killAt).toBeGreaterThan(30)
    },
    120_000,
  )
})
