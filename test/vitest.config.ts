import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitest/config'

const root = fileURLToPath(new URL('..', import.meta.url))
// Tests start some hundreds of our programs. What Node makes of a source (types stripped, compiled) it keeps
// here for the next, found by the source's content; that halves each start.
process.env['NODE_COMPILE_CACHE'] ??= join(root, 'node_modules', '.cache', 'headgate-compiled')

/** Rooms whose tests start no process and change nothing that belongs to the whole process: their files share one, and
 *  load the sources once. */
const INSIDE = ['client', 'contracts', 'core', 'machines', 'platform', 'scheduler', 'simulator']

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
    projects: [
      {
        test: {
          ...shared,
          name: 'inside',
          include: INSIDE.map((room) => `test/${room}/**/*.test.ts`),
          isolate: false,
        },
      },
      {
        test: {
          ...shared,
          name: 'outside',
          include: ['test/**/*.test.ts'],
          exclude: INSIDE.map((room) => `test/${room}/**`),
        },
      },
    ],
  },
})
