/** The building code: who may import whom, who may read the clock, what may stand where. The same table
 *  speaks in the editor through .oxlintrc.json; the last law of the table holds the two together. */
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, normalize } from 'node:path'
import { describe, expect, test } from 'vitest'
import { isStale, pages } from './support/generate.ts'
import { mayImport, roomOf, rooms, type Import } from './support/rooms.ts'
import { filesOf, inRoot, present, read, topLevel } from './support/tree.ts'

const TOP_LEVEL = `.ci .git .gitignore .oxlintrc.json CHANGELOG.md CONTRIBUTING.md LICENSE README.md
  SECURITY.md contracts deploy docker-compose.yml docs examples machines package-lock.json package.json
  services test tsconfig.json`.split(/\s+/)

/** A measure starts at today's worst and may only improve. */
const LONGEST_FILE_LINES = 864
/** Files in the linter's list of larger ones. */
const LARGER_FILES = 5

const pagesOf = (ending: RegExp): string[] => [
  ...topLevel().filter((name) => ending.test(name)),
  ...filesOf([...SOURCE, 'docs', 'examples', 'deploy', 'test'], ending),
]

/** One of Node 20 would refuse the file; npx takes the one that npm has installed. */
const BARE_NODE = /(?<!\bnpx )\bnode (?:\S+ )*?[\w./-]+\.ts\b/

const SOURCE = ['contracts', 'machines', 'services']

describe('who may import whom', () => {
  test('every import stays inside what its room may see', () => {
    const wrong = filesOf([...SOURCE, 'examples'], /\.(ts|js|mjs)$/).flatMap((path) =>
      importsOf(read(path))
        .filter((one) => !mayImport(path, one))
        .map((one) => `${path}: ${one.from}`),
    )
    expect(wrong).toEqual([])
  })

  test('every file of ours has a room', () => {
    expect(filesOf(SOURCE, /\.ts$/).filter((path) => roomOf(path) === undefined)).toEqual([])
  })

  test('core has no circle of imports, not even of types', () => {
    const files = filesOf(['services/scheduler/core'], /\.ts$/)
    const seen = new Set<string>()
    const circleFrom = (path: string, trail: readonly string[]): string[] | null => {
      if (trail.includes(path)) return [...trail.slice(trail.indexOf(path)), path]
      if (seen.has(path)) return null
      for (const { from } of importsOf(read(path))) {
        const to = coreFile(path, from)
        const circle = to === null ? null : circleFrom(to, [...trail, path])
        if (circle !== null) return circle
      }
      seen.add(path)
      return null
    }
    expect(files.map((path) => circleFrom(path, [])).find((circle) => circle !== null)).toBe(
      undefined,
    )
  })

  test('the law finds each way to write an import', () => {
    const found = importsOf(
      [
        `import a, { b } from 'one'`,
        `import type { c } from 'two'`,
        `import {\n  d,\n  type e,\n} from 'three'`,
        `import 'four'`,
        `export * from 'five'`,
        `export type { f } from 'six'`,
        `const g = await import('seven')`,
        `/** import { no } from 'comment' */`,
        `// import 'comment'`,
        `export const from = 'text'`,
      ].join('\n'),
    )
    expect(found.map((one) => `${one.from}${one.type ? ' (type)' : ''}`)).toEqual([
      'one',
      'two (type)',
      'three',
      'four',
      'five',
      'six (type)',
      'seven',
    ])
  })

  test('the linter and this table say the same of every import', () => {
    const said = sampleFiles().flatMap((path) =>
      SAMPLES.flatMap(({ text, type }, line) => ({
        place: `${path}:${line + 1}`,
        text,
        allowed: mayImport(path, { from: text, type }),
      })),
    )
    const refused = refusedByLinter(sampleFiles())
    expect(refused.size).toBeGreaterThan(100)
    expect(said.filter(({ place, allowed }) => refused.has(place) === allowed)).toEqual([])
  })
})

describe('time and dice', () => {
  const KIN =
    /\bDate\.now\b|\bMath\.random\b|\bperformance\.now\b|\bprocess\.(hrtime|uptime)\b|\bAbortSignal\.timeout\b|(?<![.\w])set(Timeout|Interval|Immediate)\s*\((?!\w+:)|\bnew Date(\(\s*\)|(?![\w(]))|['"]node:(timers|perf_hooks)/g

  test('only `system` reads the clock, rolls dice and sets timers', () => {
    const wrong = filesOf(SOURCE, /\.(ts|js|mjs)$/)
      .filter((path) => !/(^|\/)system\.(ts|js)$/.test(path))
      .flatMap((path) =>
        [...withoutComments(read(path)).matchAll(KIN)].map(([found]) => `${path}: ${found}`),
      )
    expect(wrong).toEqual([])
  })

  test('the law knows a bare new Date from one with an argument, a timer from a method', () => {
    const found = (text: string) => [...text.matchAll(KIN)].length
    expect(found('new Date()')).toBe(1)
    expect(found('new Date(wall)')).toBe(0)
    expect(found('const at: Date = known')).toBe(0)
    expect(found('setTimeout(call, 5)')).toBe(1)
    // XState's clock has a method of that name.
    expect(found('setTimeout(call: () => void, ms: number) {')).toBe(0)
  })
})

describe('the house', () => {
  test('no stranger stands at the top level', () => {
    expect(topLevel().filter((name) => !TOP_LEVEL.includes(name))).toEqual([])
  })

  test('no relative link in a Markdown page is dead', () => {
    const dead = pagesOf(/\.md$/).flatMap((path) =>
      linksOf(read(path))
        .filter((link) => !present(link.startsWith('/') ? link : join(dirname(path), link)))
        .map((link) => `${path}: ${link}`),
    )
    expect(dead).toEqual([])
  })

  test('no page starts a TypeScript file with whatever Node there is', () => {
    const bare = pagesOf(/\.(md|sh)$/).flatMap((path) =>
      read(path)
        .split('\n')
        .flatMap((line, at) => (BARE_NODE.test(line) ? [`${path}:${at + 1}`] : [])),
    )
    expect(bare).toEqual([])
    expect(
      ['node a/b.ts', 'X=1 node ./b.ts c', '`node --x b.ts`'].every((one) => BARE_NODE.test(one)),
    ).toBe(true)
    expect(['npx node a/b.ts', 'a node, b.ts'].some((one) => BARE_NODE.test(one))).toBe(false)
  })

  test('nothing is cited that a reader has not got', () => {
    const rooms = ['contracts', 'deploy', 'docs', 'examples', 'machines', 'services', 'test']
    const pages = [...filesOf(rooms, /\.(md|ts|ya?ml|json)$/), 'README.md', 'CONTRIBUTING.md']
    const cites = /\b(the|operators'?|first|second) (operator )?guide('s)?\b|\borigins R\d/i
    const found = pages
      .filter((path) => path !== 'test/tidy.test.ts')
      .filter((path) => cites.test(read(path)))
    expect(found).toEqual([])
  })

  test('generated pages are fresh', async () => {
    const stale: string[] = []
    for (const page of pages) if (await isStale(page)) stale.push(`${page.path}: npm run generate`)
    expect(stale).toEqual([])
  })

  test('no test is set aside without a reason beside it', () => {
    const SKIP = /\b(test|it|describe|law)\.(skip|todo)\(/
    const ONLY = /\b(test|it|describe|law)\.only\(/
    const wrong = filesOf(['test'], /\.test\.ts$/).flatMap((path) => {
      const lines = read(path).split('\n')
      return lines.flatMap((line, at) => {
        const reason = /\/\/ \S/.test(line) || /^\s*\/\/ \S/.test(lines[at - 1] ?? '')
        return ONLY.test(line) || (SKIP.test(line) && !reason) ? [`${path}:${at + 1}`] : []
      })
    })
    expect(wrong).toEqual([])
  })

  test('no file outgrows the longest of today', () => {
    const long = filesOf([...SOURCE, 'test', 'examples'], /\.ts$/)
      .map((path) => ({ path, lines: read(path).split('\n').length }))
      // The charts' is written by the charts themselves.
      .filter(
        ({ path, lines }) => lines > LONGEST_FILE_LINES && path !== 'contracts/generated/charts.ts',
      )
    expect(long).toEqual([])
  })

  test('the list of larger files only shrinks, and who is small enough is not in it', () => {
    const larger = largerFiles()
    expect(larger.length).toBeLessThanOrEqual(LARGER_FILES)
    expect(larger.filter((path) => !SOURCE.includes(path.split('/')[0] ?? ''))).toEqual([])
    expect(tooLarge(larger)).toEqual(larger)
  })
})

// ---- how the laws read the files ----

function importsOf(source: string): Import[] {
  const text = withoutComments(source)
  const fixed = /^\s*(?:import|export)\s+(type\s+)?(?:[\w\s{},*$]+?\s+from\s+)?['"]([^'"\n]+)['"]/gm
  const dynamic = /\b(?:import|require)\(\s*['"`]([^'"`\n]+)['"`]/g
  return [
    ...[...text.matchAll(fixed)].map(([, type, from = '']) => ({ from, type: Boolean(type) })),
    ...[...text.matchAll(dynamic)].map(([, from = '']) => ({ from, type: false })),
  ]
}

/** Comments begin a line or follow a space; so `https://` in a text stays. */
function withoutComments(source: string): string {
  return source.replace(/\/\*[\s\S]*?\*\//g, '').replace(/(^|\s)\/\/.*$/gm, '$1')
}

/** The file of core that this import of one of them names; null: it names another room. */
function coreFile(path: string, from: string): string | null {
  if (from.startsWith('#core/')) return `services/scheduler/core/${from.slice(6)}.ts`
  return from.startsWith('./') ? join(dirname(path), from) : null
}

function linksOf(markdown: string): string[] {
  const prose = markdown.replace(/^(```|~~~)[\s\S]*?^\1/gm, '').replace(/`[^`\n]*`/g, '')
  const links = [
    ...prose.matchAll(/\]\(\s*<?([^)\s>]+)/g),
    ...prose.matchAll(/^\s*\[[^\]]+\]:\s*<?(\S+?)>?(?:\s|$)/gm),
    ...prose.matchAll(/\b(?:src|href)="([^"]+)"/g),
  ]
  return links
    .map(([, link = '']) => link)
    .filter((link) => !/^([a-z][a-z0-9+.-]*:|#|\/\/)/i.test(link))
    .map((link) => decodeURIComponent(link.replace(/[#?].*$/, '')))
}

// ---- the linter's side of the table ----

const SAMPLES: readonly { text: string; type: boolean }[] = [
  './near.ts',
  './below/near.ts',
  '../far.ts',
  '#contracts/units',
  '#core/step',
  '#core/estimators/cost',
  '#core/model/state',
  '#core/laws/slots',
  '#machines/run',
  '#machines/machines',
  '#ports',
  '#scheduler/loop/loop',
  '#scheduler/compose/wire',
  '#scheduler/compose/snapshot',
  '#scheduler/observability/metrics',
  '#scheduler/nats/intake',
  '#platform/system',
  '#platform/log',
  '#platform/http/listener',
  '#platform/config/load',
  '#simulator/job',
  '#library/embed',
  '#client',
  '#gateway',
  '#dashboard',
  'zod',
  'xstate',
  'xstate/graph',
  'yaml',
  'undici',
  'fastify',
  '@fastify/static',
  '@nats-io/kv',
  '@anthropic-ai/sdk',
  '@dagrejs/dagre',
  'pino',
  'prom-client',
  '@opentelemetry/api',
  'bcryptjs',
  'commander',
  'cli-table3',
  'log-update',
  'uplot',
  'p-queue',
  'node:fs',
  'node:crypto',
  'node:http',
  'node:zlib',
].flatMap((text) => [
  { text, type: false },
  { text, type: true },
])

interface LinterConfig {
  rules: Record<string, unknown>
  overrides: { files: string[]; rules: Record<string, unknown> }[]
}

const SIZES = ['max-lines', 'max-lines-per-function']
const linterConfig = (): LinterConfig =>
  JSON.parse(read('.oxlintrc.json').replace(/^\s*\/\/.*$/gm, '')) as LinterConfig

/** Those of our source that the linter lets be larger, by name. */
const largerFiles = (): string[] =>
  linterConfig()
    .overrides.filter(({ rules }) => SIZES.every((rule) => rules[rule] === 'off'))
    .flatMap(({ files }) => files.filter((path) => !path.includes('*')))
    .toSorted()

/** Those of them that are, by the linter's own count. */
function tooLarge(paths: readonly string[]): string[] {
  const dir = mkdtempSync(join(tmpdir(), 'headgate-tidy-'))
  try {
    const { rules } = linterConfig()
    const only = Object.fromEntries(SIZES.map((rule) => [rule, rules[rule]]))
    const config = join(dir, 'sizes.json')
    writeFileSync(config, JSON.stringify({ categories: { correctness: 'off' }, rules: only }))
    const oxlint = inRoot('node_modules/oxlint/bin/oxlint')
    const args = [oxlint, '--format=unix', `--config=${config}`, ...paths.map(inRoot)]
    const { stdout } = spawnSync(process.execPath, args, { encoding: 'utf8' })
    return paths.filter((path) => stdout.includes(`${path}:`))
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
}

const sampleFiles = (): string[] =>
  rooms.map((room) => (room.at.endsWith('/') ? `${room.at}sample.ts` : room.at))

function refusedByLinter(paths: readonly string[]): Set<string> {
  const dir = mkdtempSync(join(tmpdir(), 'headgate-tidy-'))
  try {
    for (const path of paths) {
      mkdirSync(dirname(join(dir, path)), { recursive: true })
      const lines = SAMPLES.map(
        ({ text, type }, at) => `import ${type ? 'type ' : ''}{ a${at} } from '${text}'`,
      )
      writeFileSync(join(dir, path), `${lines.join('\n')}\n`)
    }
    writeFileSync(join(dir, '.oxlintrc.json'), read('.oxlintrc.json'))
    const oxlint = inRoot('node_modules/oxlint/bin/oxlint')
    const run = spawnSync(process.execPath, [oxlint, '--format=unix'], {
      cwd: dir,
      encoding: 'utf8',
    })
    const found = run.stdout.matchAll(/^(.+?):(\d+):\d+: .*no-restricted-imports/gm)
    return new Set([...found].map(([, path = '', line]) => `${normalize(path)}:${line}`))
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
}
