/** What the doctor says of the streams of durable jobs: what is there, what should be, and what to do. */
import { describe, expect, test } from 'vitest'
import { jobStreams, type JobStream } from '#contracts/job-streams'
import { storeNames } from '#contracts/store-names'
import { subjects } from '#contracts/subjects'
import { roomOf, streamFindings } from '../../services/cli/doctor-jetstream.ts'

const [jobs, results] = jobStreams({
  ...{ subjects: subjects('llm'), names: storeNames('llm'), replicas: 3 },
  ...{ backlogBytes: 1_000, resultsAgeMs: 60_000, deadAgeMs: 60_000 },
}) as [JobStream, JobStream]

/** As JetStream says it; what is not set is not said. */
const info = (of: JobStream, more: object = {}, state: object = { messages: 2, bytes: 10 }) => ({
  config: { ...of, ...more },
  state,
})

describe('a stream', () => {
  test('that is as it should be is well', () => {
    for (const one of [jobs, results])
      expect(streamFindings(one, info(one))).toEqual([
        { about: 'jobs', verdict: 'ok', said: `${one.name} holds 2 messages, 10 bytes` },
      ])
  })

  const wrong: [string, JobStream, object, string, string][] = [
    ['storage', jobs, { storage: 'memory' }, 'storage is memory, and should be file', 'stream rm'],
    ['retention', jobs, { retention: 'workqueue' }, 'retention is workqueue', 'stream rm'],
    [
      ...(['messages of a subject', jobs, { max_msgs_per_subject: -1 }] as const),
      ...(['max_msgs_per_subject is -1, and should be 1', '--max-msgs-per-subject=1'] as const),
    ],
    ['a bound', jobs, { max_msgs: 5 }, 'max_msgs is 5, and should be -1', '--max-msgs=-1'],
    [
      'no direct gets',
      jobs,
      { allow_direct: undefined },
      'allow_direct is false',
      '--allow-direct',
    ],
    ['what it discards', jobs, { discard: 'old' }, 'discard is old', '--discard=new'],
    ['what it discards', results, { discard: 'new' }, 'discard is new', '--discard=old'],
    [
      'subjects',
      jobs,
      { subjects: ['llm.v1.job.>'] },
      'does not take llm.v1.claim.>',
      '--subjects=',
    ],
    [
      'replicas',
      jobs,
      { num_replicas: 1 },
      'has 1 replicas, and jobs.replicas says 3',
      '--replicas=3',
    ],
    [
      'no republish',
      results,
      { republish: null },
      'tells nobody of a result',
      '--republish-source=',
    ],
  ]
  test.each(wrong)(
    'with another %s is broken, and how to mend it is said',
    (_, of, more, said, todo) => {
      const findings = streamFindings(of, info(of, more))
      expect(findings).toHaveLength(1)
      expect(findings[0]).toMatchObject({ about: 'jobs', verdict: 'broken' })
      expect(findings[0]?.said).toContain(`${of.name}`)
      expect(findings[0]?.said).toContain(said)
      expect(findings[0]?.todo).toContain(todo)
    },
  )

  test('with several things wrong says each', () => {
    const more = { storage: 'memory', num_replicas: 1, max_msgs: 7 }
    expect(streamFindings(jobs, info(jobs, more))).toHaveLength(3)
  })

  test('that keeps its messages for another time is noted', () => {
    expect(streamFindings(results, info(results, { max_age: 3_600e9 }))).toMatchObject([
      {
        verdict: 'note',
        said: `${results.name} keeps its messages for 3600 s, and the configuration says 60 s`,
      },
    ])
  })

  test('that is nearly full is noted, before a job is refused', () => {
    expect(streamFindings(jobs, info(jobs, {}, { messages: 9, bytes: 899 }))[0]?.verdict).toBe('ok')
    expect(streamFindings(jobs, info(jobs, {}, { messages: 9, bytes: 900 }))).toMatchObject([
      {
        verdict: 'note',
        said: `${jobs.name} holds 900 of 1000 bytes: soon submit is refused queue_full`,
      },
    ])
  })

  test('that is not there, or does not answer, is told', () => {
    expect(streamFindings(jobs, { error: { code: 404 } })).toMatchObject([
      {
        verdict: 'note',
        said: `${jobs.name} is not there`,
        todo: expect.stringContaining('headgate serve') as string,
      },
    ])
    expect(streamFindings(jobs, { error: { code: 503, description: 'no quorum' } })).toMatchObject([
      { verdict: 'broken', said: `${jobs.name}: no quorum` },
    ])
    expect(streamFindings(jobs, null)).toMatchObject([{ verdict: 'broken' }])
  })
})

test('an account that has nearly stored what it may is noted; one without a bound is not', () => {
  expect(roomOf({ storage: 95, limits: { max_storage: 100 } })).toMatchObject([
    { verdict: 'note', said: 'the account stores 95 of the 100 bytes that it may' },
  ])
  for (const limits of [{ max_storage: 1_000 }, { max_storage: -1 }, {}])
    expect(roomOf({ storage: 95, limits })).toEqual([])
})
