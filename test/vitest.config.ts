import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitest/config'
import { BaseSequencer, type TestSpecification } from 'vitest/node'

const root = fileURLToPath(new URL('..', import.meta.url))
// Tests start some hundreds of our programs. What Node makes of a source (types stripped, compiled) it keeps
// here for the next, found by the source's content; that halves each start.
process.env['NODE_COMPILE_CACHE'] ??= join(root, 'node_modules', '.cache', 'headgate-compiled')

/** Files that only compute, or all but. */
const INSIDE = [
  'test/{client,contracts,core,dashboard,gateway,machines,platform,scheduler,simulated-provider,simulator}/**/*.test.ts',
  'test/cli/{dialing,doctor-jetstream,job-lines,recorder,replay-*,submit-lines,top}.test.ts',
  'test/{docs-laws,lock,quick-expect}.test.ts',
  'test/browser/words.test.ts',
  'test/clients/*.test.ts',
  'test/sim/*.test.ts',
]

/** Files that change something of the whole process for good, or measure all of its memory. */
const ALONE = [
  'cli/auth',
  'integration/auth-callout',
  'integration/door-{fuzz,unread}',
  'integration/nats-tls',
  'integration/trace',
  'integration/with-headgate',
].map((name) => `test/${name}.test.ts`)

/** Files in which nothing depends on how soon, and which mostly wait: for what lapses, ends, starts or comes back. A
 *  crowd of them hurts none of them. One that bounds a time, or whose callers have a second, is none of these. */
const UNHURRIED = [
  'alerts',
  'browser/{house,page}',
  'cli/{command,health,machines,simulate}',
  'deploy*',
  'integration/dashboard',
  'integration/door-{deferred,keys,python,python-batches,sdk-calls,tls}',
  'integration/fleet-{chaos,shares}',
  'integration/half-price',
  'integration/image',
  'integration/{job-wait,jobs,jobs-cli,jobs-full,jobs-killed,jobs-stream-changed}',
  'integration/old-server',
  'integration/late-cluster',
  'integration/nats-server',
  'integration/record',
  'integration/scheduler-tls',
  'integration/snippets',
  'integration/tenant-permissions',
  'integration/top',
  'integration/up',
  'pack',
  'tidy',
].map((name) => `test/${name}.test.ts`)

/** Begun first, since what begins last is waited for by all. */
const LONGEST = [
  'simulator/scenarios',
  'browser/causes',
  'browser/page',
  'browser/house',
  'integration/up',
  'integration/snippets',
  'integration/jobs-killed',
  'integration/door-fuzz',
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
    sequence: { sequencer: LongestFirst },
    // Each kind when the one before is through: what bounds a time has the machine to itself. Files share processes,
    // which load the sources once.
    projects: [
      {
        test: {
          ...shared,
          name: 'inside',
          include: INSIDE,
          isolate: false,
          maxWorkers: 2,
        },
      },
      // Each keeps a third of a core busy. Their clocks are real, and on a crowded machine that would be measured
      // instead of the code.
      ...(['outside', 'alone'] as const).map((name) => ({
        test: {
          ...shared,
          name,
          include: name === 'alone' ? ALONE : ['test/**/*.test.ts'],
          exclude: name === 'alone' ? [] : [...INSIDE, ...UNHURRIED, ...ALONE],
          isolate: name === 'alone',
          maxWorkers: 3,
          sequence: { groupOrder: 1 },
        },
      })),
      {
        test: {
          ...shared,
          name: 'unhurried',
          include: UNHURRIED,
          isolate: false,
          // Each keeps half a core busy.
          maxWorkers: 4,
          sequence: { groupOrder: 2 },
        },
      },
    ],
  },
})
