/** Who may import whom: one table, from which the linter's rules are written (`npm run generate`), and which
 *  test/tidy holds every import against. */

export interface Room {
  /** A folder, with its slash, or one file. The longest that fits is a file's room. */
  at: string
  /** What it may import: as written, `**` for anything below, `*` for one part of a name. */
  may: readonly string[]
  /** Of these, what it may import as types only. */
  types?: readonly string[]
  /** What it may not, of what it otherwise may. */
  never?: readonly string[]
  /** Said by the linter to whoever tries. */
  why: string
}

const SDK = ['@anthropic-ai/sdk', '@anthropic-ai/sdk/**']
const NODE = ['node:*', 'node:*/**']
/** What runs in virtual time as it runs in real time. */
const PURE = ['./**', '#contracts/**', '#core/**', '#machines/**', '#ports']

const SIMULATOR = [
  ...PURE,
  '#scheduler/fleet/*',
  '#scheduler/money/*',
  '#scheduler/loop/*',
  '#scheduler/jobs/*',
  '#scheduler/memory/*',
  '#scheduler/observability/*',
  '#scheduler/compose/snapshot',
  '#platform/config/load',
  '#dashboard',
  'uplot',
]

export const rooms: readonly Room[] = [
  {
    at: 'contracts/',
    may: ['./**', 'zod'],
    why: 'contracts is the language between processes: it may import zod and itself, or every reader of it would drag in more.',
  },
  {
    at: 'contracts/documents/',
    may: ['./**', '#contracts/**', 'zod'],
    why: 'documents writes the contracts down for every language: it reads them, and nobody but the generator reads it.',
  },
  {
    at: 'contracts/generated/',
    may: ['./**'],
    types: ['#contracts/**'],
    why: 'generated is written by `npm run generate`: data, and the types of #contracts.',
  },
  {
    at: 'machines/',
    may: ['./**', '#contracts/**', 'xstate'],
    why: 'machines remember and know nobody: #contracts, xstate and themselves. The loop hands their numbers to core; the two have never met.',
  },
  {
    at: 'machines/chart.ts',
    may: ['./**', '#contracts/**', 'xstate', 'xstate/graph', '@dagrejs/dagre'],
    why: "chart draws: besides what machines may import, xstate's graph of them and a layout library.",
  },
  {
    at: 'services/scheduler/core/',
    may: ['./**', '#contracts/**'],
    why: 'core is pure: it may import #contracts and itself. What the world knows, the loop hands in as an input.',
  },
  {
    at: 'services/scheduler/core/estimators/',
    may: ['./**', '#contracts/**'],
    why: 'estimators measure and know nothing of the state that holds them.',
  },
  {
    at: 'services/scheduler/core/model/',
    may: ['./**', '#contracts/**', '#core/estimators/**'],
    why: 'model is what there is, made of estimators; what happens to it is in the laws above.',
  },
  {
    at: 'services/scheduler/core/laws/',
    may: ['./**', '#contracts/**', '#core/estimators/**', '#core/model/**'],
    why: 'laws stand on model and estimators; the step that calls them is above.',
  },
  {
    at: 'services/scheduler/loop/',
    may: PURE,
    why: 'the loop sees #contracts, #core, #machines and #ports, and no door: an effect is carried out behind a port, or it could not be replayed. Clock and dice come through #ports.',
  },
  {
    at: 'services/scheduler/memory/',
    may: PURE,
    why: 'memory fills the ports inside one process: #ports and its words.',
  },
  {
    at: 'services/scheduler/compose/',
    may: [...PURE, '#scheduler/**', '#platform/**', '#dashboard', '#gateway', ...NODE],
    why: 'compose sees every room of the scheduler, #platform, #dashboard and #gateway; a vendor it would need stands behind one of them.',
  },
  {
    at: 'services/scheduler/',
    may: [...PURE, '#platform/**', ...NODE],
    why: "the scheduler's root is its process: main puts together what compose wires.",
  },
  {
    at: 'services/scheduler/ports/',
    may: ['./**', '#contracts/**'],
    types: ['#core/**', '#platform/**'],
    why: 'ports says what the scheduler asks of the world, in the words of #contracts and the types of #core and #platform: a port that computes is no port.',
  },
  {
    at: 'services/scheduler/nats/',
    may: ['./**', '#contracts/**', '#ports', '@nats-io/**', 'node:buffer', 'node:crypto'],
    why: 'nats is a door: #contracts, #ports, @nats-io, node:buffer to tell UTF-8 without making a text of the bytes, and node:crypto to name the prefix of a body by its hash. It carries words and decides nothing.',
  },
  {
    at: 'services/scheduler/jobs/',
    may: ['./**', '#contracts/**', '#core/**', '#ports', 'zod'],
    why: 'jobs makes requests of what is stored, and results of what comes of them: #contracts, #core, #ports. Where it is stored stands behind a port.',
  },
  {
    at: 'services/scheduler/fleet/',
    may: ['./**', '#contracts/**', '#core/**', '#ports', 'zod'],
    why: 'fleet keeps our line in the record that instances share: #contracts, #core, #ports. Where the record is kept stands behind a port.',
  },
  {
    at: 'services/scheduler/money/',
    may: ['./**', '#contracts/**', '#core/**', '#ports', 'zod'],
    why: 'money keeps what tenants use of their budgets: #contracts, #core, #ports. Where it is kept stands behind a port.',
  },
  {
    at: 'services/scheduler/batches/',
    may: ['./**', '#contracts/**', '#ports'],
    types: ['zod'],
    why: 'batches makes jobs of entries, and lines of their results: #contracts, #ports. Where it is kept stands behind a port.',
  },
  {
    at: 'services/scheduler/provider/',
    may: ['./**', '#contracts/**', '#ports', ...SDK, 'undici', 'node:zlib'],
    why: 'provider is a door: #contracts, #ports, @anthropic-ai/sdk, undici, node:zlib. It names what came back and decides nothing.',
  },
  {
    at: 'services/scheduler/http/',
    may: [
      './**',
      '#contracts/**',
      '#ports',
      '#platform/http/**',
      'fastify',
      '@fastify/**',
      'node:fs/promises',
    ],
    why: "http is a door: #contracts, #ports, #platform's listener, fastify and its plugins, and the kernel's table of connections. The dashboard's routes are handed to it by wire.",
  },
  {
    at: 'services/scheduler/degrade/',
    may: ['./**', '#contracts/**', '#ports', 'node:crypto'],
    why: 'degrade carries out what core chose: #contracts, #ports, and a hash.',
  },
  {
    at: 'services/scheduler/observability/',
    may: [
      './**',
      '#contracts/**',
      '#ports',
      '#platform/log',
      'pino',
      'pino-pretty',
      'prom-client',
      '@opentelemetry/**',
    ],
    why: 'observability watches: #contracts, #ports, its logger and meters. A metric that an algorithm imports is a metric that shapes it.',
  },
  {
    at: 'services/platform/',
    may: [
      './**',
      '#contracts/**',
      'fastify',
      '@fastify/**',
      'pino',
      'pino-pretty',
      'yaml',
      'zod',
      ...NODE,
    ],
    why: 'platform is what every program of ours stands on: time, chance, HTTP, configuration, log. It knows #contracts and no service.',
  },
  {
    at: 'services/library/',
    may: [
      './**',
      '#contracts/**',
      '#core/**',
      '#machines/**',
      '#ports',
      '#scheduler/**',
      '#platform/**',
      '#client',
      '#gateway',
      ...NODE,
    ],
    types: SDK,
    why: "library is Headgate inside somebody else's program: it wires the scheduler as its process does, and speaks the SDK's types.",
  },
  {
    at: 'services/gateway/',
    may: [
      './**',
      '#contracts/**',
      '#client',
      '#platform/**',
      'fastify',
      '@fastify/**',
      'node:crypto',
    ],
    why: 'gateway is a client with an HTTP face: #contracts, #client, #platform, fastify and its plugins. What it needs of the scheduler, it asks over the bus like everyone.',
  },
  {
    at: 'services/gateway/main.ts',
    may: ['./**', '#contracts/**', '#client', '#platform/**', ...NODE],
    why: "the door's own process: besides what the door may import, Node.",
  },
  {
    at: 'services/dashboard/',
    may: ['./**', '#contracts/**', 'node:crypto', 'node:fs', 'node:module', 'node:zlib'],
    why: "dashboard reads events and snapshots: #contracts and what serves its page's files, and acts through what wire hands it.",
  },
  {
    at: 'services/dashboard/page/',
    may: ['./**'],
    types: ['#contracts/**'],
    why: 'the page runs in a browser: it imports its own files, by ./name.ts, and the types of #contracts.',
  },
  {
    at: 'services/simulated-provider/',
    may: ['./**', '#contracts/**', ...NODE],
    why: "simulated-provider is somebody else's server: #contracts and Node. Code shared with what it tests would hide a common mistake.",
  },
  {
    at: 'services/simulator/',
    may: SIMULATOR,
    why: 'simulator runs the same core, machines, loop and room of jobs in virtual time; it may not touch the world.',
  },
  ...['main', 'trace-file'].map((name) => ({
    at: `services/simulator/${name}.ts`,
    may: [...SIMULATOR, 'node:fs', 'node:path', 'node:crypto'],
    why: "main and trace-file are the simulator's way to files; the rest of it may not touch the world.",
  })),
  {
    at: 'services/client/',
    may: ['./**', '#contracts/**', '@nats-io/**'],
    types: SDK,
    why: "client is what publishers install: #contracts, @nats-io, the SDK's types. Whatever else it imported, they would install too.",
  },
  {
    at: 'services/client/trace-headers.ts',
    may: ['./**', '#contracts/**', '@nats-io/**', '@opentelemetry/api', 'node:module'],
    types: SDK,
    why: "trace-headers looks whether OpenTelemetry's API is installed; besides, what the client may import.",
  },
  {
    at: 'services/cli/',
    may: [
      './**',
      '#contracts/**',
      '#client',
      '#simulator/job',
      '#platform/system',
      'node:*',
      'node:*/**',
      'bcryptjs',
      'commander',
      'cli-table3',
      'log-update',
      'yaml',
    ],
    why: "cli is one client more: #contracts, #client, clock and dice of #platform, Node, its argument and terminal libraries, and a YAML editor for the operator's file. Other programs it starts, never imports; what it may ask of the simulator is data, #simulator/job.",
  },
  {
    at: 'examples/',
    may: ['**'],
    never: ['#*', '#*/**', '../**'],
    why: "An example may import what a user could: headgate's public doors and packages.",
  },
]

export interface Import {
  from: string
  type: boolean
}

export function roomOf(path: string): Room | undefined {
  let found: Room | undefined
  for (const room of rooms)
    if (path.startsWith(room.at) && room.at.length > (found?.at.length ?? 0)) found = room
  return found
}

export function mayImport(path: string, { from, type }: Import): boolean {
  const room = roomOf(path)
  if (room === undefined) return false
  // No `../`: to cross a room you name it.
  if (from.includes('../') || from === '..') return false
  if (isOpen(path, from)) return true
  if (fits(room.never ?? [], from)) return false
  return fits(room.may, from) || (type && fits(room.types ?? [], from))
}

/** What examples may import of headgate itself. */
const OPEN = ['#client', '#contracts/**', '#machines/machines']
const isOpen = (path: string, from: string): boolean =>
  path.startsWith('examples/') && fits(OPEN, from)

const fits = (patterns: readonly string[], from: string): boolean =>
  patterns.some((pattern) => expressionOf(pattern).test(from))

function expressionOf(pattern: string): RegExp {
  const parts = pattern.split(/(\*\*|\*)/).map((part) => {
    if (part === '**') return '.*'
    return part === '*' ? '[^/]*' : part.replace(/[.+?^${}()|[\]\\]/g, '\\$&')
  })
  return new RegExp(`^${parts.join('')}$`)
}

// ---- the linter's rules ----

const BEGIN = '    // Written from test/support/rooms.ts by `npm run generate`.\n'
const END = '    // Until here.\n'

/** @public `npm run generate` calls it. */
export function renderLinter(present: string): string {
  const from = present.indexOf(BEGIN)
  const until = present.indexOf(END)
  if (from < 0 || until < 0) throw new Error('.oxlintrc.json has lost the marks around its rooms')
  // The narrower room comes later and wins.
  const ordered = rooms.toSorted((a, b) => a.at.length - b.at.length)
  const overrides = ordered.map((room) => `${JSON.stringify(overrideOf(room), null, 2)},\n`)
  return present.slice(0, from) + BEGIN + overrides.join('') + present.slice(until)
}

function overrideOf({ at, may, types = [], never = [], why }: Room): object {
  const open = at === 'examples/' ? OPEN : may.includes('**') ? [] : [...may, ...types]
  const closed = may.includes('**') ? never : ['**']
  const typed = types.map((pattern) => ({
    regex: expressionOf(pattern).source,
    allowTypeImports: true,
    message: why,
  }))
  const group =
    at === 'examples/'
      ? [...closed, ...open.map((one) => `!${one}`), '../**']
      : [...closed, ...open.map((one) => `!${one}`), ...never]
  return {
    files: [at.endsWith('/') ? `${at}**` : at],
    rules: {
      'no-restricted-imports': ['error', { patterns: [...typed, { group, message: why }] }],
    },
  }
}
