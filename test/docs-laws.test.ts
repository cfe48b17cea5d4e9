/** docs/control-laws.md says what the code does. Each of its tables of numbers is read and compared with the constant or
 *  the default that a row names; a constant of the laws that no row names is found as well. */
import { describe, expect, test } from 'vitest'
import { configFile, defaultConfig, type LaneConfig } from '#contracts/config'
import { onLadder, reasons, type Reason } from '#contracts/refusals'
import { verdicts, type VerdictKind } from '#contracts/verdict'
import { SCENARIOS } from '#simulator/scenarios'
import { CASES } from './sim/cases.ts'
import { filesOf, read } from './support/tree.ts'

const PAGE = 'docs/control-laws.md'

/** Where the laws are. */
const LAWS = [
  ...filesOf(['services/scheduler/core'], /\.ts$/),
  'machines/aimd.ts',
  'machines/breaker.ts',
  'machines/burst.ts',
  ...['attempts', 'controllers', 'ladder', 'loop'].map(
    (name) => `services/scheduler/loop/${name}.ts`,
  ),
]

/** Constants with a number in them that are no laws. */
const NO_LAW = new Set([
  // Empty values.
  'core/laws/admission ROOM',
  'core/laws/degradation TOP',
  'core/laws/prediction NOTHING',
  'core/laws/slots NOTHING',
  'core/laws/token-buckets AS_RESERVED',
  'loop/attempts NO_ANSWER',
  // What doubles lose.
  'core/estimators/token-bucket EPSILON',
  'core/invariants ROUNDING',
  'core/model/share EPSILON',
  // Nobody to divide with.
  'core/model/share ALONE',
  'core/model/share NONE',
  'core/model/share WHOLE',
  // An hour has so many milliseconds.
  'machines/aimd HOUR',
  // Another name for `SHARED_TENANT_CAP`.
  'core/laws/slots MANY',
  // The deadline of a job whose lane is gone, which is refused at once.
  'loop/loop ENTRY_LANE_MS',
])

interface Row {
  section: string
  cells: string[]
}

/** The sections of the page, by number. */
const sections = new Map(
  read(PAGE)
    .split(/^## (?=\d+\. )/m)
    .slice(1)
    .map((text) => [text.match(/^\d+/)![0], text]),
)

/** The rows of the tables with this head. */
function rowsUnder(head: RegExp): Row[] {
  return [...sections].flatMap(([section, text]) => {
    const rows: Row[] = []
    let inside = false
    for (const line of text.split('\n')) {
      const cells = line.startsWith('|')
        ? line
            .split('|')
            .slice(1, -1)
            .map((one) => one.trim())
        : []
      if (cells.length === 0) inside = false
      else if (head.test(line)) inside = true
      else if (inside && !/^-+$/.test(cells[0] ?? '')) rows.push({ section, cells })
    }
    return rows
  })
}

const numbers = rowsUnder(/^\| number +\| value +\| in the code +\|$/).map(
  ({ section, cells: [, value = '', place = ''] }) => ({
    section,
    value,
    place: place.replaceAll('`', ''),
  }),
)

describe('the numbers of the control laws', () => {
  test('are those of the code', async () => {
    const wrong: string[] = []
    for (const { section, value, place } of numbers) {
      const real = await valueAt(place)
      if (!meant(value).some((one) => typeof real === 'number' && near(one, real)))
        wrong.push(`§${section} says ${value}; ${place} is ${String(real)}`)
    }
    expect(numbers.length).toBeGreaterThan(150)
    expect(wrong).toEqual([])
  })

  test('of each table stand in the text of its section too', () => {
    const wrong = numbers
      .filter(({ section, value, place }) => {
        const prose = withoutNumbers(sections.get(section)!)
        return !isConfigured(place) && !standsIn(prose, value.replace(/th$/, ''))
      })
      .map(({ section, value, place }) => `§${section}: ${value} (${place})`)
    expect(wrong).toEqual([])
  })

  test('leave no constant of the laws out', async () => {
    const said = new Set(numbers.map(({ place }) => place))
    const left: string[] = []
    for (const path of LAWS) {
      const module = path.replace(/^services\/scheduler\//, '').replace(/\.ts$/, '')
      const shown = (await import(/* @vite-ignore */ `../${path}`)) as Record<string, unknown>
      for (const [, name = ''] of read(path).matchAll(/^(?:export )?const ([A-Z][A-Z_0-9]*)\b/gm)) {
        if (NO_LAW.has(`${module} ${name}`)) continue
        if (name in shown) {
          for (const leaf of leavesOf(shown[name], name))
            if (!said.has(`${module} ${leaf}`)) left.push(`${module} ${leaf}`)
        } else if (hasNumber(read(path), name)) left.push(`${module} ${name} is not exported`)
      }
    }
    expect(left).toEqual([])
  })

  test('of the shipped lanes are the defaults', () => {
    const [head, ...rows] = rowsUnder(/^\| lane +\| `weight`/)
    expect(head).toBeDefined()
    const columns = sections
      .get('1')!
      .match(/^\| lane +(\| `weight`.*)$/m)![1]!
      .split('|')
      .map((one) => one.replaceAll('`', '').trim())
      .filter(Boolean)
    const page = [head!, ...rows].map(({ cells: [name, ...values] }) => ({
      name,
      ...Object.fromEntries(columns.map((column, i) => [column, values[i]!.replaceAll(',', '')])),
    }))
    expect(page).toEqual(
      defaultConfig().lanes.map((lane) => ({
        name: lane.name,
        ...Object.fromEntries(columns.map((column) => [column, said(lane[LANE[column]!])])),
      })),
    )
  })

  test('that a scenario must meet are those of the simulator', () => {
    const page = rowsUnder(/^\| scenario +\| where +\| what must be met +\|$/).map(({ cells }) =>
      cells.join(' | ').replaceAll('`', ''),
    )
    const cases = CASES.filter(({ name }) => /^S\d+$/.test(name)).map(({ name, job }) => {
      const { load, reserved, noise } = job
      const parameters = { load: load ?? 0, reserved: reserved ?? 0, noise: noise ?? 0 }
      const scenario = SCENARIOS.find((one) => one.name === name)!
      const where = scenario.parameters.map((one) => `${one} ${parameters[one]}`).join() || '-'
      return `${name} | ${where} | ${mustOf(scenario.must(parameters))}`
    })
    expect(page).toEqual(cases)
  })
})

describe('the words of the control laws', () => {
  test('name each reason of a refusal with its code, and mark those of the ladder', () => {
    const line = sections.get('13')!.match(/^`INVALID`.*$/m)![0]
    const page = new Map<string, { code: string; ladder: boolean }>()
    for (const group of line.replace(/\.$/, '').split(' - ')) {
      const code = group.match(/\((\w+)\)$/)![1]!
      for (const [, name = '', star] of group.matchAll(/`(\w+)`(\\?\*)?/g))
        page.set(name, { code, ladder: star !== undefined })
    }
    const real = Object.entries(reasons).map(([name, code]) => [
      name,
      { code, ladder: onLadder(name as Reason) },
    ])
    expect(Object.fromEntries(page)).toEqual(Object.fromEntries(real))
  })

  test('give each kind of verdict the votes that it has', () => {
    const page = rowsUnder(/^\| # +\| verdict on an attempt/).map(({ cells }) => cells)
    const wrong = ROWS.flatMap(([row, ...kinds]) => {
      const [, , ofLimit = '', ofBreaker, , ofBudget, ofRetry = ''] =
        page.find(([one]) => one === row) ?? []
      return kinds
        .filter((kind) => {
          const { limit, breaker, retry, budget } = verdicts[kind]
          const votes = ofLimit.includes(limit) && ofBreaker === breaker
          return !votes || !RETRY[retry].test(ofRetry) || ofBudget !== BUDGET[budget]
        })
        .map((kind) => `row ${row}: ${kind}`)
    })
    expect(wrong).toEqual([])
    expect(page.map(([row]) => row)).toEqual(ROWS.map(([row]) => row))
  })
})

// ---- how the laws are read ----

/** Which kinds of verdict a row of the table is about. */
const ROWS: readonly (readonly [row: string, ...kinds: VerdictKind[]])[] = [
  ['1', 'ok'],
  ['2', 'throttled'],
  ['3', 'ramp_limited'],
  ['4', 'unexplained'],
  ['5', 'key_stop'],
  ['6', 'overloaded'],
  ['7', 'fault'],
  ['8', 'hang'],
  ['9', 'broken'],
  ['10', 'cut', 'cut_overloaded'],
  ['11', 'rejected'],
  ['11a', 'conflict'],
  ['12', 'ended'],
]
/** How the table says it. */
const RETRY = {
  yes: /^yes$/,
  'after-retry-after': /^yes, after retry-after$/,
  once: /^once/,
  never: /^(-|never|preempted only)/,
}
const BUDGET = { earn: 'earns', charge: '-1', free: 'free', none: '-' }

const LANE: Record<string, keyof LaneConfig> = {
  weight: 'weight',
  guarantee: 'guarantee',
  reserved_slots: 'reservedSlots',
  cap: 'cap',
  preemptible: 'preemptible',
  minimum_share: 'minimumShare',
  timeout_ms: 'timeoutMs',
  max_attempts: 'maxAttempts',
  queue_max: 'queueMax',
  base_backoff_ms: 'retryBaseMs',
  cap_backoff_ms: 'retryCapMs',
  last_backoff_ms: 'retryLastMs',
}
const said = (value: unknown): string =>
  typeof value === 'boolean' ? (value ? 'yes' : 'no') : String(value)

const mustOf = (must: Record<string, string>): string =>
  Object.entries(must)
    .map((one) => one.join(' '))
    .join(', ')

/** A place is `module NAME.field` or a key of the configuration. */
async function valueAt(place: string): Promise<unknown> {
  const [module = '', name] = place.split(' ')
  if (name === undefined) return leafOf(configFile.parse({}), place)
  return leafOf((await import(/* @vite-ignore */ `../${pathOf(module)}`)) as object, name)
}

const pathOf = (module: string): string =>
  /^(contracts|machines)\//.test(module) ? `${module}.ts` : `services/scheduler/${module}.ts`

const leafOf = (tree: unknown, path: string): unknown =>
  path
    .split('.')
    .reduce((below, key) => (below as Record<string, unknown> | undefined)?.[key], tree)

const UNITS = { ms: 1, s: 1_000, min: 60_000 } as const

/** What a value of the page may be in the code: a time is in milliseconds or in seconds. */
function meant(value: string): number[] {
  const match = /^([\d.,]+)(?:\/(\d+))?(th)?(?: (ms|s|min|%))?$/.exec(value)
  if (match === null) return []
  const [, digits = '', by, percentile, unit] = match
  const number = Number(digits.replaceAll(',', '')) / Number(by ?? 1)
  if (unit === '%' || percentile !== undefined) return [number / 100]
  if (unit === undefined) return [number]
  const ms = number * UNITS[unit as keyof typeof UNITS]
  return unit === 'ms' ? [ms] : [ms, ms / 1_000]
}

const near = (a: number, b: number): boolean => Math.abs(a - b) <= 1e-9 * Math.max(1, Math.abs(a))

/** A default that can be configured is said once, beside its key. */
const isConfigured = (place: string): boolean => !/^(core|loop|machines|nats)\//.test(place)

const withoutNumbers = (text: string): string =>
  text
    .split('\n\n')
    .filter((block) => !block.startsWith('| number '))
    .join('\n\n')

function standsIn(text: string, value: string): boolean {
  const literal = value.replace(/[.*+?^${}()|[\]\\/]/g, '\\$&')
  return new RegExp(`(?<![\\d.,])${literal}(?!\\d|[.,]\\d)`).test(text)
}

/** The numbers in a value, by their paths. */
function leavesOf(value: unknown, path: string): string[] {
  if (typeof value === 'number') return [path]
  if (typeof value !== 'object' || value === null) return []
  return Object.entries(value).flatMap(([key, one]) => leavesOf(one, `${path}.${key}`))
}

/** A constant that cannot be looked at from outside: is it a number, or begins with one? */
const hasNumber = (source: string, name: string): boolean =>
  new RegExp(`^const ${name}\\b[^=]*=\\s*(\\{[^}]*)?[\\s\\w:]*\\d`, 'm').test(source)
