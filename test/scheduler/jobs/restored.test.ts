/** What comes of jobs that an old backup brings back: those that ended since, and those that somebody had. */
import { expect, test } from 'vitest'
import { subjects } from '#contracts/subjects'
import type { JobClaim } from '#contracts/jobs'
import type { JobResult, NewJob } from '#ports'
import { openRecordedHouse, type RecordedHouse } from '../../contracts/recorded-house.ts'

const LLM = subjects('llm')
const ID = { 'Headgate-Id': 'j' }
const BODY = {
  ...{ model: 'claude-x', max_tokens: 9 },
  messages: [{ role: 'user', content: 'hello' }],
}

const calls = ({ wired }: RecordedHouse): number =>
  wired.recording.recent().filter(({ event }) => event.name === 'request.dispatched').length
const resultOf = ({ store }: RecordedHouse): Promise<JobResult | null> => store.result('acme', 'j')
const forget = ({ store }: RecordedHouse): void => (store.results as Map<string, unknown>).clear()
const outcomeOf = async (house: RecordedHouse): Promise<string | undefined> =>
  (await resultOf(house))?.headers.find(([name]) => name === 'Headgate-Outcome')?.[1]

/** The job as it was stored before it ended, and the house in which it has ended since. */
async function ended(deadlineMs = '600000') {
  const house = await openRecordedHouse({})
  await house.ask(LLM.admin('lane'), { lane: 'batch', paused: true })
  await house.ask(LLM.submit('acme', 'batch'), BODY, { ...ID, 'Headgate-Deadline-Ms': deadlineMs })
  await house.pass(100)
  const backup = (await house.store.find('acme', 'j'))!
  await house.ask(LLM.admin('lane'), { lane: 'batch', paused: false })
  await house.pass(3_000)
  expect(await outcomeOf(house)).toBe('completed')
  expect(await house.store.find('acme', 'j')).toBe(null)
  expect(calls(house)).toBe(1)
  return {
    house,
    async restore(claim: JobClaim | null = null) {
      await house.store.add(backup as NewJob, backup.body)
      if (claim !== null) await house.store.claim(backup, claim, 0)
      house.tell(LLM.peerJob, { by: 'restore', lane: 'batch', tenant: 'acme' })
    },
  }
}

test('one whose result is kept is taken away, not called again, and the result stays', async () => {
  const { house, restore } = await ended()
  const before = await resultOf(house)
  await restore()
  await house.pass(5_000)
  expect(await house.store.find('acme', 'j')).toBe(null)
  expect(calls(house)).toBe(1)
  expect(await resultOf(house)).toBe(before)
  await house.close()
})

test('one whose result is gone runs again', async () => {
  const { house, restore } = await ended()
  forget(house)
  await restore()
  await house.pass(5_000)
  expect(calls(house)).toBe(2)
  expect(await outcomeOf(house)).toBe('completed')
  await house.close()
})

test('one whose result is gone and whose deadline has passed expires without a call', async () => {
  const { house, restore } = await ended('30000')
  forget(house)
  await house.pass(30_000)
  await restore()
  await house.pass(5_000)
  expect(calls(house)).toBe(1)
  expect(await outcomeOf(house)).toBe('expired')
  await house.close()
})

test('one that an instance had which is gone is taken over, with its attempts, as ambiguous', async () => {
  const { house, restore } = await ended()
  forget(house)
  await restore({ by: 'gone', claims: 1, attempts: 1, calling: true, ambiguous: 0 })
  await house.pass(5_000)
  expect(calls(house)).toBe(1)
  await house.pass(5_000)
  expect(calls(house)).toBe(2)
  const attempts = (await resultOf(house))?.headers.find(([name]) => name === 'Headgate-Attempts')
  expect(attempts?.[1]).toBe('2')
  expect(house.wired.operator.snapshot()).toMatchObject({
    jobs: { counts: { taken_over: 1, ambiguous: 1 } },
  })
  await house.close()
})
