/** How a simulation is asked for, and in what shape it answers. */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { jsonOf, tablesOf } from '../../services/cli/simulate-report.ts'
import { mooncakeLines } from '../support/mooncake-trace.ts'
import { runResult } from '../support/simulation.ts'
import { inRoot } from '../support/tree.ts'

const dir = mkdtempSync(join(tmpdir(), 'headgate-simulate-'))
afterAll(() => rmSync(dir, { recursive: true, force: true }))

const run = (...args: string[]) =>
  spawnSync(process.execPath, [inRoot('services/cli/headgate.ts'), 'simulate', ...args], {
    encoding: 'utf8',
  })

const trace = join(dir, 'trace.csv')
const rows = Array.from({ length: 60 }, (_, at) => `${at / 2},100,50`)
writeFileSync(trace, `TIMESTAMP,ContextTokens,GeneratedTokens\n${rows.join('\n')}\n`)
const apart = join(dir, 'apart.csv')
writeFileSync(apart, 'TIMESTAMP,ContextTokens,GeneratedTokens\n0,10,10\n2000000,10,10\n')
const recorded = join(dir, 'recorded.ndjson')
writeFileSync(recorded, '\uFEFF{"headgate":"recording","version":1}\n')
const tight = join(dir, 'tight.yaml')
writeFileSync(tight, 'concurrency_limit: { initial: 8, ceiling: 8 }\n')
const mooncake = join(dir, 'mooncake.jsonl')
writeFileSync(mooncake, mooncakeLines({ seed: 1, seconds: 30 }).join('\n'))
const haiku = join(dir, 'haiku.yaml')
writeFileSync(haiku, 'routes: [{ model: claude-haiku-4-5 }]\n')
const of = { scale: 1, capacity: 60 }
const fleet = (...more: string[]): string[] => ['--trace', trace, '--instances', '2', ...more]

describe('headgate simulate', () => {
  test.each([
    [[], 'expected either --scenario NAME (--list lists them) or --trace FILE'],
    [['--scenario', 'S2', '--trace', trace], 'expected either --scenario NAME'],
    [['--scenario', 'S99'], 'no scenario S99; there are S'],
    [['--scenario', 'S2', '--list'], '--list: not together with --scenario'],
    [['--scenario', 'S2', '--policy', 'best'], 'expected one of headgate, naive, fixed, classic'],
    [['--scenario', 'S2', '--baseline', 'best'], 'expected one of headgate, naive, fixed, classic'],
    [['--scenario', 'S2', '--seed', '-1'], 'expected a whole number from 0 to 4294967295'],
    [['--scenario', 'S2', '--seed', '4294967296'], 'expected a whole number from 0 to 4294967295'],
    [['--scenario', 'S2', '--load', '0.65'], 'expected one of 0.6, 0.7, 0.8'],
    [['--scenario', 'S7', '--reserved', '1', '--hold', '1'], 'cannot be used with'],
    [['--scenario', 'S7', '--reserved', '21'], 'expected a whole number from 0 to 20'],
    [['--scenario', 'S10', '--noise', '1.1'], 'expected a number from 0 to 1'],
    [['--scenario', 'S2', '--part', '0'], 'expected a number from 0.01 to 1'],
    [['--scenario', 'S2', '--scale', '2'], '--scale: needs --trace FILE, not --scenario'],
    [['--scenario', 'S2', '--storm', '1:2'], '--storm: needs --trace FILE, not --scenario'],
    [['--trace', trace, '--load', '0.6'], '--load: needs --scenario NAME, not --trace'],
    [['--trace', trace, '--part', '0.5'], '--part: needs --scenario NAME, not --trace'],
    [['--trace', trace, '--scale', '1e3'], 'expected a number from 0.01 to 1000'],
    [['--trace', trace, '--capacity', '0'], 'expected a whole number from 1 to 100000'],
    [['--trace', trace, '--tenants', 'many'], 'expected a whole number from 1 to 100000'],
    [['--trace', trace, '--lanes', 'premium'], 'expected NAME=SHARE,…'],
    [['--trace', trace, '--model', 'a b'], 'expected the name of a model'],
    [['--trace', recorded, '--model', 'x'], `--model: ${recorded} is a recording`],
    [['--trace', trace, '--lanes', 'a=0.5,a=0.5'], 'a lane stands twice'],
    [['--trace', trace, '--lanes', 'a=0.5,b=0.4'], 'must add up to 1; they are 0.9'],
    [['--trace', trace, '--for', '0'], 'expected a number above 0'],
    [['--trace', trace, '--storm', '300'], 'expected FROM:FOR in seconds'],
    [['--trace', trace, '--storm', '300:0'], 'expected FROM:FOR in seconds'],
    [['--trace', trace, '--backlog', '0'], 'expected a whole number from 1 to 1000000'],
    [['--trace', trace, '--backlog-tenants', '2'], '--backlog-tenants: needs --backlog N'],
    [['--trace', trace, '--backlog', '1', '--backlog-lane', 'a.b'], 'expected 1 to 64 characters'],
    [['--trace', trace, '--backlog', '1', '--backlog-lane', 'x'], 'no lane x in the configuration'],
    [['--trace', trace, '--backlog', '1', '--backlog-deadline', '0'], 'expected a number above 0'],
    [['--trace', trace, '--backlog', '1', '--policy', 'sdk'], 'sdk has no jobs and no process'],
    [
      ['--trace', trace, '--baseline', 'naive', '--restart', '9'],
      'naive has no jobs and no process',
    ],
    [['--scenario', 'S3', '--backlog', '1'], 'S3 is made of 4, each with traffic of its own'],
    [['--trace', trace, '--restart', '10:0'], 'expected AT or AT:FOR in seconds'],
    [['--trace', trace, '--restart', '10,12'], 'one after the other: at 12 s'],
    [['--trace', trace, '--restart', '31'], '--restart: 31 s is after the end, which is at 31 s'],
    [['--trace', trace, '--instances', '0'], 'expected a whole number from 1 to 10'],
    [['--trace', trace, '--instances', '1.5'], 'expected a whole number from 1 to 10'],
    [['--trace', trace, '--instances', '11'], 'expected a whole number from 1 to 10'],
    [['--trace', trace, '--kill', '9'], '--kill: needs --instances N, 2 or more'],
    [fleet('--kill', 'abc'), 'expected AT or AT:FOR in seconds, FOR at least 0.1 and 10 if absent'],
    [fleet('--same-name'), '--same-name: needs --kill AT:FOR'],
    [fleet('--kill', '9:0.05'), 'expected AT or AT:FOR in seconds'],
    [fleet('--kill', '-1'), 'expected AT or AT:FOR in seconds'],
    [fleet('--kill', '31'), '--kill: 31 s is after the end, which is at 31 s'],
    [fleet('--kill', '5,6,7'), '--kill: at 7 s nobody is left to be killed: all 2 are dead'],
    [fleet('--backlog', '9'), '--instances: not with durable jobs'],
    [fleet('--restart', '9'), '--instances: not with --restart, which is of one; say --kill'],
    [fleet('--record', join(dir, 'film')), '--instances: not with --record, which shows one'],
    [fleet('--baseline', 'sdk'), 'sdk has no instances: run it by itself, with the same seed'],
    [['--scenario', 'S3', '--instances', '3'], '--instances goes with one run: S3 is made of 4'],
    [['--scenario', 'restarts', '--instances', '3'], '--instances: not with durable jobs'],
    [['--trace', trace, '--report', 'a', '--record', 'a'], 'expected two files'],
    [['--trace', trace, '--report', trace], 'is what is read; give another file'],
    [['--trace', trace, '--record', trace], 'is what is read; give another file'],
    [
      ['--trace', trace, '--config', haiku],
      'no route for claude in the configuration; there are claude-haiku-4-5: --model names what',
    ],
    [['--trace', apart, '--scale', '0.01'], 's of virtual time; at most 2678400'],
    [['--trace', recorded, '--tenants', '3'], `--tenants: ${recorded} is a recording`],
    [
      ['--trace', trace, ...Array.from({ length: 5 }, () => ['--baseline', 'naive']).flat()],
      '6 columns with the first; at most 5',
    ],
  ])('called wrong ends with status 2: %j', (args, said) => {
    const { status, stdout, stderr } = run(...args)
    expect(stderr).toContain(said)
    expect(stderr).not.toContain('    at ')
    expect(stdout).toBe('')
    expect(status).toBe(2)
  })

  test('refuses a parameter that the scenario lacks, and says which have it', () => {
    const { scenarios } = listed()
    const with_ = scenarios.find(({ parameters }) => parameters.includes('reserved'))
    const without = scenarios.find(({ parameters }) => !parameters.includes('reserved'))
    const { status, stderr } = run('--scenario', without?.name ?? '', '--reserved', '4')
    expect(stderr).toContain(`--reserved: not for ${without?.name}`)
    expect(stderr).toContain(`for ${with_?.name}`)
    expect(status).toBe(2)
  })

  test.each([
    [['--trace', join(dir, 'none.csv')], `${dir}/none.csv: cannot be read (ENOENT)`],
    [['--trace', recorded], `${recorded}: the recording holds no request`],
    [['--trace', dir], `${dir}: cannot be read (EISDIR)`],
    [['--trace', trace, '--config', join(dir, 'none.yaml')], 'none.yaml: no such file'],
    [['--trace', trace, '--vs', join(dir, 'none.yaml')], 'none.yaml: no such file'],
    [
      ['--trace', trace, '--report', join(dir, 'no', 'a.html')],
      'a.html: cannot be written (ENOENT)',
    ],
    [['--trace', trace, '--record', dir], 'cannot be written (EISDIR)'],
  ])('a file that is wrong ends with status 1: %j', (args, said) => {
    const { status, stdout, stderr } = run(...args)
    expect(stderr).toContain(said)
    expect(stderr).not.toContain('    at ')
    expect(stdout).toBe('')
    expect(status).toBe(1)
  })

  test('leaves what stood there as it was, until the new file is whole', () => {
    const page = join(dir, 'old.html')
    writeFileSync(page, 'old')
    const config = join(dir, 'bad.yaml')
    writeFileSync(config, 'nonsense: 1')
    expect(run('--trace', trace, '--config', config, '--report', page).status).toBe(1)
    expect(readFileSync(page, 'utf8')).toBe('old')
    expect(readFileSync(trace, 'utf8')).toContain('TIMESTAMP')
    expect(run('--trace', trace, '--report', page).status).toBe(0)
    expect(readFileSync(page, 'utf8')).toContain('<!doctype html>')
    expect(readdirSync(dir).filter((name) => name.endsWith('.part'))).toEqual([])
  })

  test('lists scenarios, for people and for programs', () => {
    const { scenarios } = listed()
    expect(scenarios.map(({ name }) => name)).toContain('S2')
    const { stdout, status } = run('--list')
    expect(stdout).toMatch(/^S2 .*\[--load\]$/m)
    expect(status).toBe(0)
  })

  test('answers a trace with one object, and writes a page and a recording', () => {
    const report = join(dir, 'report.html')
    const recording = join(dir, 'recording.ndjson')
    const { status, stdout, stderr } = run(
      ...['--trace', trace, '--json', '--report', report, '--record', recording],
    )
    expect(stderr).toBe('')
    const found = JSON.parse(stdout) as Record<string, unknown>
    expect(Object.keys(found).slice(0, 12)).toEqual(OF_TRACE)
    expect(found['seed']).toBe(1)
    expect(status).toBe(found['violations'] === 0 ? 0 : 1)
    expect(readFileSync(report, 'utf8')).toMatch(/^<!doctype html>/)
    for (const line of readFileSync(recording, 'utf8').trimEnd().split('\n'))
      expect(JSON.parse(line)).toBeTypeOf('object')
  })

  test('says of a backlog when it is done and who paid, and what a death cost', () => {
    const asked = ['--trace', trace, '--backlog', '40', '--restart', '5,12:3']
    const report = join(dir, 'backlog.html')
    const recording = join(dir, 'backlog.ndjson')
    const { status, stdout, stderr } = run(...asked, '--report', report, '--record', recording)
    expect(stderr).toBe('')
    expect(status).toBe(0)
    expect(stdout).toContain('- the backlog (40 jobs of 1 tenant in batch) is done after ')
    expect(stdout).toContain('- the process died at 12 s for 3 s: ')
    expect(Math.max(...stdout.split('\n').map((line) => [...line].length))).toBeLessThanOrEqual(100)
    const page = readFileSync(report, 'utf8')
    expect(page).toContain('<h2>Beside the traffic</h2><ul><li>the backlog (40 jobs of 1 tenant')
    expect(readFileSync(recording, 'utf8').trimEnd().split('\n').length).toBeGreaterThan(20)
    const found = JSON.parse(run(...asked, '--json').stdout) as Record<string, unknown>
    expect(found['backlog']).toMatchObject({ jobs: 40, completed: 40, left: 0, expired: 0 })
    expect(found['restarts']).toMatchObject({ deaths: [{ at_s: 5, for_s: 5 }, { for_s: 3 }] })
    expect(found).not.toHaveProperty('said')
  })

  test('says what a configuration saves on prompts that calls share, by tenant and side by side', () => {
    const waits = join(dir, 'waits.yaml')
    writeFileSync(waits, 'scheduling: { prefix_wait_ms: 5000 }\n')
    const report = join(dir, 'shared.html')
    const asked = ['--trace', mooncake, '--tenants', '3', '--model', 'claude-sonnet-4-5']
    const { status, stdout, stderr } = run(...asked, '--vs', waits, '--report', report)
    expect([status, stderr]).toEqual([0, ''])
    expect(stdout).toContain('- the prompt cache: ')
    expect(stdout).toMatch(/│ prefix_saved_tokens +│ 0 +│ \d{6,} +│/)
    expect(stdout).toMatch(/│ cost_usd +│ [\d.]+ +│ [\d.]+ +│/)
    expect(stdout).toMatch(/│ of waits.yaml │ +│/)
    expect(Math.max(...stdout.split('\n').map((line) => [...line].length))).toBeLessThanOrEqual(100)
    expect(readFileSync(report, 'utf8')).toContain('<h2>Cost</h2>')
    const { runs } = JSON.parse(run(...asked, '--vs', waits, '--json').stdout) as {
      runs: { money: Record<string, number> }[]
    }
    const [off, on] = runs.map(({ money }) => money)
    expect(off?.['prefix_saved_usd']).toBe(0)
    expect(on?.['prefix_saved_usd']).toBeGreaterThan(0)
    expect(on?.['cost_usd']).toBeLessThan(off?.['cost_usd'] ?? 0)
  })

  test('puts a backlog and a death beside a scenario of one part', () => {
    const backlog = ['--backlog', '30', '--backlog-tenants', '3', '--backlog-deadline', '20']
    const over = ['--backlog-over', '10', '--backlog-lane', 'interactive', '--restart', '30']
    const { stdout } = run('--scenario', 'S6', '--part', '0.05', '--json', ...backlog, ...over)
    const found = JSON.parse(stdout) as Record<string, unknown>
    expect(found).toMatchObject({ scenario: 'S6', violations: 0 })
    expect(found['backlog']).toMatchObject({ jobs: 30, tenants: 3, lane: 'interactive', left: 0 })
  })

  test('has a column for each run, in the order in which they were asked for', () => {
    const config = join(dir, 'other.yaml')
    writeFileSync(config, '')
    const { stdout } = run('--trace', trace, '--baseline', 'naive', '--vs', config, '--json')
    const { runs } = JSON.parse(stdout) as { runs: { label: string; policy: string }[] }
    expect(runs.map(({ label, policy }) => [label, policy])).toEqual([
      ['headgate', 'headgate'],
      ['naive', 'naive'],
      ['other.yaml', 'headgate'],
    ])
    expect(existsSync(config)).toBe(true)
  })
})

function listed() {
  const { stdout } = run('--list', '--json')
  return JSON.parse(stdout) as { scenarios: { name: string; parameters: string[] }[] }
}

const COUNTS = ['violations', 'trace_hash', 'simulated_requests', 'wall_ms']
const OF_SCENARIO = ['scenario', 'seed', 'policy', 'figures', ...COUNTS]
const OF_TRACE = [
  ...['trace', 'seed', 'policy', 'scale', 'capacity', 'lanes', 'guardrails', 'figures'],
  ...COUNTS,
]

describe('a fleet', () => {
  const told = (...args: string[]) => {
    const { status, stdout, stderr } = run(...args)
    expect([status, stderr]).toEqual([0, ''])
    return stdout
  }

  test('of one is one alone', () => {
    const alone = JSON.parse(told('--trace', trace, '--json')) as { trace_hash: string }
    const one = JSON.parse(told('--trace', trace, '--instances', '1', '--json'))
    expect(one).toMatchObject({ trace_hash: alone.trace_hash, fleet: null })
  })

  test('says in numbers and in words what was shared, and what a death did', () => {
    const page = join(dir, 'fleet.html')
    const asked = fleet('--kill', '12,5:3', '--same-name', '--vs', tight, '--report', page)
    const { runs } = JSON.parse(told(...asked, '--json')) as { runs: object[] }
    expect(runs).toHaveLength(2)
    const kills = [
      { at_s: 5, for_s: 3 },
      { at_s: 12, for_s: 10 },
    ]
    for (const one of runs)
      expect(one).toMatchObject({ violations: 0, fleet: { instances: 2, same_name: true, kills } })
    const tables = told(...asked)
    expect(tables).toContain('- 2 instances share 60 slots')
    expect(tables).toContain('was killed at 5 s, and another came 3 s later under')
    expect(tables).toMatch(/│ of tight.yaml +│/)
    expect(tables).toMatch(/│ i[12] +│ 22 +│ - +│/)
    const html = readFileSync(page, 'utf8')
    expect(html).toContain('<h2>Instances</h2>')
    expect(html).toContain('was killed at 12 s')
  })
})

describe('its JSON', () => {
  test('begins with what a program looks for, and holds no series', () => {
    const found = jsonOf([runResult()], of) as Record<string, unknown>
    expect(Object.keys(found).slice(0, 8)).toEqual(OF_SCENARIO)
    expect(found).not.toHaveProperty('series')
    const traced = jsonOf([runResult({ scenario: null, trace: 'a.csv' })], of) as object
    expect(Object.keys(traced).slice(0, 12)).toEqual(OF_TRACE)
  })

  test('has six decimals, and null where nothing is known', () => {
    const figures = { a: 1 / 3, b: null, c: NaN, d: Infinity, e: 1e-9, f: 12_345_678 }
    expect(jsonOf([runResult({ figures })], of)).toMatchObject({
      figures: { a: 0.333333, b: null, c: null, d: null, e: 0, f: 12_345_678 },
    })
  })

  test('has several runs under one name', () => {
    const found = jsonOf([runResult(), runResult({ label: 'naive' })], of)
    expect(found).toMatchObject({ runs: [{ label: 'headgate' }, { label: 'naive' }] })
  })
})

describe('its tables', () => {
  const widest = (text: string) => Math.max(...text.split('\n').map((line) => [...line].length))

  test('say what must be met, and whether it is', () => {
    const said = tablesOf([runResult()])
    expect(said).toMatch(/│ answers_529 +│ 67 +│ <= 100 +│ met +│/)
    expect(said).toMatch(/│ recovery_s +│ 44\.12 +│ <= 30 +│ missed +│/)
    expect(said).toMatch(/│ lowest_limit +│ - /)
    expect(said).toMatch(/12345 requests in 0\.8125 s: 15194 per second; violations: 0$/)
  })

  test('begin with what is said in words, of each run', () => {
    const sentence = `a sentence ${'of many words '.repeat(12)}that ends`
    const said = tablesOf([runResult({ said: [sentence] })]).split('\n')
    expect(said.slice(1, 4).map((line) => line.slice(0, 14))).toEqual([
      ...['- a sentence o', '  many words o', '┌─────────────'],
    ])
    const both = tablesOf([runResult({ said: ['one'] }), runResult({ label: 'b', said: ['two'] })])
    expect(both).toContain('\nheadgate:\n- one\nb:\n- two\n')
    expect(widest(tablesOf([runResult({ said: [sentence] })]))).toBeLessThanOrEqual(100)
  })

  test('fit 100 columns, with five runs and long names too', () => {
    const label = 'a-configuration-with-a-long-name.yaml'
    const long = { ['a_figure_with_a_name_that_is_far_too_long']: 123_456.789 }
    const runs = Array.from({ length: 5 }, () => runResult({ label, figures: long }))
    for (let count = 1; count <= 5; count++)
      expect(widest(tablesOf(runs.slice(0, count)))).toBeLessThanOrEqual(100)
  })

  test('say whose laws are broken', () => {
    const bad = runResult({ label: 'naive', violations: 2, findings: ['I3: a slot held twice'] })
    const said = tablesOf([runResult(), bad])
    expect(said).toContain('violations: 2 by naive\n  I3: a slot held twice by naive')
  })
})
