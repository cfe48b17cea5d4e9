/** Which sources are mutated, and which tests must notice. None of these tests starts a process or needs a server. */
export interface MutantRoom {
  name: 'core' | 'loop' | 'gateway' | 'client'
  /** Folder. */
  at: string
  /** Files of it that only tests with processes can judge. */
  except?: readonly string[]
  /** One after the other, those that notice most first, until one fails. */
  tests: readonly (readonly string[])[]
}

const LOOP =
  'degrade loop one-fault own-wait prefixes snapshot status stream-end switches told upstream-words with-model'
    .split(' ')
    .map((name) => `test/scheduler/${name}`)

/** In virtual time. */
const FLEET = ['in-force', 'observed', 'route-parts', 'routes'].map(
  (name) => `test/scheduler/fleet/${name}`,
)

export const MUTANT_ROOMS: readonly MutantRoom[] = [
  {
    name: 'core',
    at: 'services/scheduler/core',
    tests: [['test/core/'], LOOP, FLEET],
  },
  {
    name: 'loop',
    at: 'services/scheduler/loop',
    tests: [LOOP, FLEET, ['test/core/', 'test/scheduler/observability/', 'test/dashboard/feed']],
  },
  {
    name: 'gateway',
    at: 'services/gateway',
    // A process.
    except: ['services/gateway/main.ts'],
    tests: [
      ['test/gateway/'],
      ['again', 'aux', 'http'].map((name) => `test/integration/door-${name}`),
    ],
  },
  {
    name: 'client',
    at: 'services/client',
    // They speak with a server.
    except: ['services/client/nats-dial.ts', 'services/client/nats-transport.ts'],
    tests: [['test/client/'], ['test/scheduler/stream-end', 'test/cli/dialing']],
  },
]

/** Their clocks are real: on a crowded machine one may fail by itself. */
export const mayFailAlone = (file: string): boolean => file.startsWith('test/integration/')
