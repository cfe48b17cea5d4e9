import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitest/config'
import { BaseSequencer, type TestSpecification } from 'vitest/node'

const root = fileURLToPath(new URL('..', import.meta.url))
// Tests start some hundreds of our programs. What Node makes of a source (types stripped, compiled) it keeps
// here for the next, found by the source's content; that halves each start.
process.env['NODE_COMPILE_CACHE'] ??= join(root, 'node_modules', '.cache', 'headgate-compiled')

/** Files whose tests change nothing that belongs to the whole process, or put it back: they share one, and load the
 *  sources once. */
const INSIDE = [
  'test/{client,contracts,core,dashboard,gateway,machines,platform,scheduler,simulated-provider,simulator}/**/*.test.ts',
  'test/cli/{dialing,doctor-jetstream,recorder,replay-*,submit-lines,top}.test.ts',
  'test/{docs-laws,lock,quick-expect}.test.ts',
  'test/browser/words.test.ts',
  'test/clients/*.test.ts',
  'test/sim/*.test.ts',
]

/** Files that spend most of their time waiting for something to lapse, end or come back, and in which nothing depends
 *  on how soon: a crowd of them leaves a machine idle, and hurts none of them. */
const WAITING = [
  'browser/house',
  'integration/auth-callout',
  'integration/door-deferred',
  'integration/door-python',
  'integration/door-sdk-calls',
  'integration/door-silent',
  'integration/door-tls',
  'integration/fleet-shares',
  'integration/half-price',
  'integration/job-wait',
  'integration/jobs',
  'integration/jobs-cli',
  'integration/jobs-killed',
  'integration/nats-server',
  'integration/odd-upstream',
  'integration/process',
  'integration/scheduler-tls',
  'integration/snippets',
  'integration/top',
  'integration/up',
].map((name) => `test/${name}.test.ts`)

/** Begun first, since what begins last is waited for by all. */
const LONGEST = [
  'simulator/scenarios',
  'simulator/world',
  'browser/causes',
  'browser/house',
  'browser/page',
  'integration/snippets',
  'integration/up',
  'integration/jobs-killed',
  'integration/job-wait',
  'integration/half-price',
]

class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files)
    const long = (of: TestSpecification): number => {
      const at = LONGEST.findIndex((name) => of.moduleId.endsWith(`/test/${name}.test.ts`))
      return at < 0 ? LONGEST.length : at
    }
    const projects = [...new Set(sorted.map(({ project }) => project))]
    return projects.flatMap((one) =>
      sorted.filter(({ project }) => project === one).toSorted((a, b) => long(a) - long(b)),
    )
  }
}

const shared = {
  root,
  // Processes, since tests start servers and send signals.
  pool: 'forks',
  // For what hangs. A crowded machine may take ten times as long as a quiet one.
  testTimeout: 60_000,
  hookTimeout: 60_000,
  teardownTimeout: 10_000,
} as const

export default defineConfig({
  root,
  test: {
    ...shared,
    outputFile: { json: '.reports/vitest.json', junit: '.reports/vitest.xml' },
    // Two, since the clocks of the integration tests are real and a crowded machine would be measured instead of the
    // code.
    maxWorkers: 2,
    sequence: { sequencer: LongestFirst },
    projects: [
      { test: { ...shared, name: 'inside', include: INSIDE, isolate: false } },
      {
        test: {
          ...shared,
          name: 'outside',
          include: ['test/**/*.test.ts'],
          exclude: [...INSIDE, ...WAITING],
        },
      },
      {
        test: {
          ...shared,
          name: 'waiting',
          include: WAITING,
          maxWorkers: 5,
          // After all others, which it would disturb.
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
})
