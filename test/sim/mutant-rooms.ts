/** Which sources are mutated, and which tests must notice. None of these tests starts a process or needs a server. */
export interface MutantRoom {
  name: 'core' | 'loop' | 'gateway' | 'client'
  /** Folder. */
  at: string
  /** One after the other, those that notice most first, until one fails. */
  tests: readonly (readonly string[])[]
}

export const MUTANT_ROOMS: readonly MutantRoom[] = [
  {
    name: 'core',
    at: 'services/scheduler/core',
    tests: [['test/core/'], ['test/scheduler/']],
  },
  {
    name: 'loop',
    at: 'services/scheduler/loop',
    tests: [
      ['test/scheduler/loop', 'test/scheduler/degrade', 'test/scheduler/status', 'test/core/'],
      ['test/scheduler/', 'test/dashboard/feed', 'test/simulator/world'],
    ],
  },
  {
    name: 'gateway',
    at: 'services/gateway',
    tests: [['test/gateway/'], ['again', 'aux', 'http', 'sdk.test'].map(doorTest)],
  },
  {
    name: 'client',
    at: 'services/client',
    tests: [
      ['test/client/'],
      ['test/scheduler/stream-end', 'test/scheduler/safe-message', 'test/cli/dialing'],
      ['http', 'sdk.test'].map(doorTest),
    ],
  },
]

function doorTest(name: string): string {
  return `test/integration/door-${name}`
}
