import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitest/config'

export default defineConfig({
  root: fileURLToPath(new URL('..', import.meta.url)),
  test: {
    include: ['test/**/*.test.ts'],
    outputFile: { json: '.reports/vitest.json', junit: '.reports/vitest.xml' },
    // Processes, since tests start servers and send signals; two, since the clocks of the integration
    // tests are real and a crowded machine would be measured instead of the code.
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 20_000,
    hookTimeout: 20_000,
    teardownTimeout: 10_000,
  },
})
