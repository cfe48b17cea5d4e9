/** Laws of reading `headgate.yaml`: all or nothing, told with its place, and no secret ever shown. */
import { describe, expect, test } from 'vitest'
import { EMERGENCY } from '#contracts/config'
import {
  CONFIG_BYTES_MAX,
  ConfigError,
  hashOfKey,
  loadConfig,
  PROBLEMS_MAX,
  type Loaded,
} from '../../../services/platform/config/load.ts'

const EMERGENCY_BLOCK = `llm_gateway:
  timeout_ms: 8000
  max_inflight_global: 48
  max_inflight_per_tenant: 12
  retry:
    max_attempts: 3
    base_backoff_ms: 250
    cap_backoff_ms: 2500
    jitter: full
  circuit_breaker:
    error_rate_threshold: 0.25
    open_seconds: 15
    half_open_probe_ratio: 0.1
`

const load = (text: string, emergency = false): Loaded =>
  loadConfig({ path: 'headgate.yaml', text, emergency })

function refusal(text: string): ConfigError {
  try {
    load(text)
  } catch (error) {
    if (error instanceof ConfigError) return error
    throw error
  }
  throw new Error('was accepted')
}

describe('what is accepted', () => {
  test('an empty file is told, one that says a comment or nothing on purpose is not', () => {
    const told = ['headgate.yaml: the file is empty: defaults hold']
    for (const text of ['', ' \n\n']) expect(load(text).warnings).toEqual(told)
    for (const text of ['# all defaults\n', '{}']) expect(load(text).warnings).toEqual([])
    expect(loadConfig({ path: null, emergency: false }).warnings).toEqual([])
  })

  test('nothing at all runs on defaults', () => {
    expect(load('').config.maxInflight).toBe(60)
    expect(loadConfig({ path: null, emergency: false }).config.maxInflight).toBe(60)
  })

  test.each([
    ['alone', EMERGENCY_BLOCK],
    ['beside the rest', `${EMERGENCY_BLOCK}tenants:\n  acme:\n    weight: 2\n`],
  ])('the emergency block loads verbatim, %s', (_how, text) => {
    const { config, warnings } = load(text)
    expect(warnings).toEqual([])
    expect(config.maxInflight).toBe(48)
    expect(config.tenantCap).toBe(12)
    expect(config.breaker).toMatchObject({ threshold: 0.25, openMs: 15_000, probeRatio: 0.1 })
    const interactive = config.lanes.find((lane) => lane.name === 'interactive')
    expect(interactive).toMatchObject({
      timeoutMs: 8_000,
      maxAttempts: 3,
      retryBaseMs: 250,
      retryCapMs: 2_500,
    })
    expect(config.lanes.find((lane) => lane.name === 'batch')?.timeoutMs).toBe(86_400_000)
  })

  test('the block and the switch say the same', () => {
    expect(load('', true).config.maxInflight).toBe(EMERGENCY.max_inflight_global)
    expect(load(EMERGENCY_BLOCK).config.breaker).toEqual(load('', true).config.breaker)
  })

  test('the emergency switch never allows more than the file does, by any of its numbers', () => {
    const low = {
      timeout_ms: 5_000,
      max_inflight_global: 10,
      max_inflight_per_tenant: 3,
      retry: { max_attempts: 2, base_backoff_ms: 100, cap_backoff_ms: 1_000 },
      circuit_breaker: { error_rate_threshold: 0.2, open_seconds: 10, half_open_probe_ratio: 0.05 },
    }
    const { config } = load(JSON.stringify({ llm_gateway: low }), true)
    expect(config).toMatchObject({ maxInflight: 10, tenantCap: 3 })
    expect(config.breaker).toMatchObject({ threshold: 0.2, openMs: 10_000, probeRatio: 0.05 })
    expect(config.lanes.find(({ name }) => name === 'interactive')).toMatchObject({
      timeoutMs: 5_000,
      maxAttempts: 2,
      retryBaseMs: 100,
      retryCapMs: 1_000,
    })
    const lanes = { interactive: { timeout_ms: 3_000, max_attempts: 1 } }
    const own = load(JSON.stringify({ lanes }), true).config.lanes
    expect(own.find(({ name }) => name === 'interactive')).toMatchObject({
      timeoutMs: 3_000,
      maxAttempts: 1,
    })
  })

  test.each([
    ['a heading with everything under it commented out', 'llm_gateway:\n  # timeout_ms: 1\n'],
    ['a value left empty', 'llm_gateway:\n  timeout_ms:\n'],
    ['a known lane without settings', 'lanes:\n  batch:\n'],
    ['a comment alone', '# later\n'],
    ['JSON, which is YAML', '{"llm_gateway":{"max_inflight_global":60}}'],
  ])('%s is as good as absent', (_what, text) => {
    expect(load(text).config.lanes).toEqual(load('').config.lanes)
  })

  test('a new lane or tenant without settings has the defaults', () => {
    const { config } = load('lanes:\n  night:\ntenants:\n  acme:\n')
    expect(config.lanes.map((lane) => lane.name)).toContain('night')
    expect(config.tenants.named.get('acme')?.weight).toBe(1)
  })
})

describe('what is refused, and how it is said', () => {
  test.each([
    [
      'llm_gateway:\n  max_inflight_global: 0\n',
      'headgate.yaml:2:24: llm_gateway.max_inflight_global: found 0; allowed: an integer from 1 to 10000',
    ],
    ['llm_gatway: {}\n', 'headgate.yaml:1:1: llm_gatway: unknown key; did you mean llm_gateway?'],
    [
      'timeout_ms: 8000\n',
      'headgate.yaml:1:1: timeout_ms: unknown key here; it belongs to llm_gateway.timeout_ms',
    ],
    [
      'concurrency_limit:\n  mode: aimd\n',
      'headgate.yaml:2:9: concurrency_limit.mode: found "aimd"; allowed: default or classic',
    ],
    [
      'routes:\n  - model: claude\n    rpm: fast\n',
      'headgate.yaml:3:10: routes[0].rpm: found "fast"; allowed: an integer from 1 to 1000000000',
    ],
    ['routes:\n  - {}\n', 'headgate.yaml:2:5: routes[0].model: missing; allowed: 1 to 128'],
    [
      'drain_ms: 1\nllm_gateway: {}\ndrain_ms: 2\n',
      'headgate.yaml:3:1: drain_ms: stands twice; keep one',
    ],
    [
      'lanes:\n  premium:\n    reserved_slots: 30\n',
      'headgate.yaml:3:21: lanes.premium.reserved_slots: 30 is more than its guarantee, 20',
    ],
    ['lanes:\n  "a b": {}\n', 'headgate.yaml:2:3: lanes.a b: a name: expected 1 to 64 characters'],
    ['lanes:\n\tpremium: {}\n', 'headgate.yaml:2:1: a tab in the indentation; use spaces'],
    ['a: 1\n---\nb: 2\n', 'a second document'],
    ['- 1\n', 'found a list; allowed: a map with'],
    ['just text\n', 'found "just text"; allowed: a map with'],
    ['tenants:\n  __proto__: {}\n', 'headgate.yaml:2:3: tenants: __proto__ is not a name'],
    ['drain_ms: *nowhere\n', 'an alias'],
    ['{ [1]: 2 }\n', 'a key must be plain text'],
  ])('%j', (text, said) => {
    expect(refusal(text).message).toContain(said)
  })

  describe('a key that has another name now', () => {
    const FORMER = [
      ['premium', 'hold', 'reserved_slots', 7, 'reservedSlots'],
      ['batch', 'trickle', 'minimum_share', 3, 'minimumShare'],
    ] as const

    test.each(FORMER)(
      'of lane %s: %s works as %s, with a warning',
      (lane, former, now, n, field) => {
        const { config, warnings } = load(`lanes:\n  ${lane}:\n    ${former}: ${n}\n`)
        expect(config.lanes.find(({ name }) => name === lane)?.[field]).toBe(n)
        expect(warnings).toEqual([
          `headgate.yaml:3:5: lanes.${lane}.${former}: is called ${now} now`,
        ])
        expect(load(`lanes:\n  ${lane}:\n    ${now}: ${n}\n`).warnings).toEqual([])
      },
    )

    test.each(FORMER)('of lane %s: %s beside %s is refused', (lane, former, now, n) => {
      const both = `lanes:\n  ${lane}:\n    ${now}: ${n}\n    ${former}: ${n}\n`
      expect(refusal(both).message).toBe(
        `headgate.yaml:4:5: lanes.${lane}.${former}: is called ${now} now, and both stand there; keep ${now}`,
      )
    })

    test.each(FORMER)(
      'of lane %s: a wrong value of %s is told where it stands',
      (lane, former, now) => {
        expect(refusal(`lanes:\n  ${lane}:\n    ${former}: many\n`).message).toContain(
          `headgate.yaml:3:${7 + former.length}: lanes.${lane}.${now}: found "many"; allowed: an integer`,
        )
      },
    )

    test('is no key of any other map, and none for a suggestion', () => {
      expect(refusal('scheduling:\n  hold: 3\n').message).toContain('scheduling.hold: unknown key')
      expect(refusal('lanes:\n  a: { trickel: 3 }\n').message).not.toMatch(/\btrickle\b/)
    })
  })

  test('every problem is told, in the order of the file, up to a bound', () => {
    const error = refusal('drain_ms: -1\nsettled_ms: x\nnonsense: 1\n')
    expect(error.problems.map((one) => one.line)).toEqual([1, 2, 3])
    const many = refusal(Array.from({ length: 50 }, (_, i) => `wrong${i}: 1`).join('\n'))
    expect(many.problems).toHaveLength(PROBLEMS_MAX)
    expect(many.message).toContain('… and 30 more')
  })

  test('a contradiction that the emergency switch only hides is refused while it is on', () => {
    const text = 'llm_gateway:\n  retry:\n    cap_backoff_ms: 300\n    base_backoff_ms: 400\n'
    expect(() => load(text, true)).toThrow(/\(when the emergency switch is off\)/)
    expect(() => load(text)).toThrow(/lanes.batch.base_backoff_ms: 400 is more than its cap/)
  })

  test('a batch that is given up before it could end is a contradiction', () => {
    expect(() => load('jobs:\n  batches: {deadline_min: 7199, reserve: 3600}\n')).toThrow(
      /jobs.batches.reserve: 3600 is more than half of jobs.batches.deadline_min, 7199/,
    )
    load('jobs:\n  batches: {deadline_min: 7200, reserve: 3600}\n')
  })

  test('a file too large, too clever or absent is an error, not a crash', () => {
    expect(refusal(`# ${'x'.repeat(CONFIG_BYTES_MAX)}`).message).toContain('at most')
    const laughs = ['a: &a [x,x,x,x,x,x,x,x,x]']
    for (let i = 1; i < 9; i++) {
      const [self, last] = ['abcdefghi'[i], 'abcdefghi'[i - 1]]
      laughs.push(`${self}: &${self} [${Array(9).fill(`*${last}`).join(',')}]`)
    }
    expect(refusal(laughs.join('\n')).message).toContain('alias')
    refusal('['.repeat(20_000))
    expect(() => loadConfig({ path: '/no/such/headgate.yaml', emergency: false })).toThrow(
      /no such file; give its path with --config or HEADGATE_CONFIG/,
    )
  })
})

describe('keys', () => {
  const SECRET = 'sk-ant-planted-secret-value'

  test('a plain key works, is warned about with its hash, and is held only as that', () => {
    const loaded = load(`tenants:\n  acme:\n    keys: ["${SECRET}"]\n`)
    const hash = hashOfKey(SECRET)
    expect(loaded.warnings).toEqual([
      `headgate.yaml:3:12: tenants.acme.keys[0]: a plain key; write "sha256:${hash}" instead`,
    ])
    expect(loaded.keys.get(hash)).toBe('acme')
    expect(JSON.stringify(loaded.config.file)).not.toContain(SECRET)
    const hashed = load(`tenants:\n  acme:\n    keys: ["sha256:${hash}"]\n`)
    expect(hashed.warnings).toEqual([])
    expect(hashed.keys.get(hash)).toBe('acme')
  })

  test.each([
    ['a key two tenants hold', `tenants:\n  a: {keys: [${SECRET}]}\n  b: {keys: [${SECRET}]}\n`],
    ['a hash that is none', `tenants:\n  a: {keys: ["sha256:${SECRET}"]}\n`],
    ['a key where a tenant belongs', `tenants:\n  a: ${SECRET}\n`],
    ['a key under a wrong name', `tenants:\n  a: {key: ${SECRET}}\n`],
    ['a key where a list belongs', `tenants:\n  a: {keys: ${SECRET}}\n`],
    ['a list too long', `tenants:\n  a: {keys: [${Array(101).fill(SECRET).join(',')}]}\n`],
    ['a key too long', `tenants:\n  a: {keys: ["${SECRET.padEnd(600, 'x')}"]}\n`],
    ['a key as a tenant', `tenants:\n  ${SECRET}: 3\n`],
    ['a key as an alias', `tenants:\n  a: {keys: [*${SECRET}]}\n`],
    ['a key as a tag', `tenants:\n  a: {keys: [!${SECRET} x]}\n`],
    ['a key in broken YAML', `tenants:\n  a: {keys: ["${SECRET}}\n`],
    ['a key twice as a name', `tenants:\n  a:\n    keys: {${SECRET}: 1, ${SECRET}: 2}\n`],
    ['the key instead of its variable', `upstreams:\n  x: {api_key_env: ${SECRET}}\n`],
    ['a URL with a password', `upstreams:\n  x: {base_url: "ftp://me:${SECRET}@host"}\n`],
    ['a key where an enum belongs', `tenants:\n  unknown: ${SECRET}\n`],
    ['a key at the top', `subject_prefix: "${SECRET} "\n`],
    ['a key as a lane name', `tenants:\n  a: {lanes: [${SECRET}]}\n`],
  ])('%s is refused without being shown', (_what, text) => {
    const error = refusal(text)
    expect(error.message).not.toContain('planted-secret')
    expect(JSON.stringify(error.problems)).not.toContain('planted-secret')
  })
})

test.each(['['.repeat(400_000), '- '.repeat(400_000), 'a: {'.repeat(100_000)])(
  'what is nested beyond any setting is refused before it is parsed',
  (text) => {
    expect(() => loadConfig({ path: null, text, emergency: false })).toThrow(
      'nested deeper than 32',
    )
  },
)

test('a line of dashes in a comment is no nesting', () => {
  const text = `# ${'-'.repeat(80)} lanes\nllm_gateway: { max_inflight_global: 30 }\n`
  expect(loadConfig({ path: null, text, emergency: false }).config.maxInflight).toBe(30)
})

describe('a file of thousands of mistakes costs about what one without them costs', () => {
  const lines = (of: (i: number) => string): string =>
    Array.from({ length: 6_000 }, (_, i) => of(i)).join('\n')
  const took = (text: string): number => {
    const began = performance.now()
    try {
      loadConfig({ path: null, text, emergency: false })
    } catch (error) {
      expect(String(error).length).toBeLessThan(20_000)
    }
    return performance.now() - began
  }

  test.each([
    ['unknown keys at the top', lines((i) => `key_${i}: 1`)],
    ['unknown keys of tenants', `tenants:\n${lines((i) => ` t${i}: {bad: 1}`)}`],
    ['names that are none', `tenants:\n${lines((i) => ` "t ${i}": {}`)}`],
    ['values out of range', `tenants:\n${lines((i) => ` t${i}: {weight: -1}`)}`],
    ['lanes that are not there', `tenants:\n${lines((i) => ` t${i}: {lanes: [zz]}`)}`],
    ['contradictions', `lanes:\n${lines((i) => ` l${i}: {reserved_slots: 1}`)}`],
  ])('%s', (_what, text) => {
    const fine = `tenants:\n${lines((i) => ` t${i}: {weight: 2}`)}`
    took(fine)
    // Quadratic time was ten and more times this.
    expect(took(text)).toBeLessThan(took(fine) * 5 + 500)
  })
})

test.each([
  ['itself', '[{model: m, fallback: [m]}]', 'm is the model itself'],
  ['one twice', '[{model: m, fallback: [n, n]}, {model: n}]', 'n stands twice'],
])('a model falls back on others, once each: not on %s', (_, routes, said) => {
  expect(() => loadConfig({ path: null, text: `routes: ${routes}`, emergency: false })).toThrow(
    said,
  )
})

test.each(['toString', 'constructor', 'hasOwnProperty', 'valueOf', 'isPrototypeOf'])(
  'a name that every object knows is no upstream, lane or model: %s',
  (name) => {
    const problem = (text: string) => {
      try {
        loadConfig({ path: null, text, emergency: false })
        return 'none'
      } catch (error) {
        return String(error)
      }
    }
    expect(problem(`routes: [{model: m, upstream: ${name}}]`)).toContain(`no upstream ${name}`)
    expect(problem(`routes: [{model: m, fallback: [${name}]}]`)).toContain(
      `no route serves ${name}`,
    )
    expect(problem(`tenants: {a: {lanes: [${name}]}}`)).toContain(`no lane ${name}`)
    expect(problem(`${name}: 1`)).toContain('unknown key')
    expect(problem(`lanes: {premium: {${name}: 1}}`)).toContain('unknown key')
    // Where any name may stand, it is one.
    expect(problem(`lanes: {${name}: {}}\ntenants: {${name}: {lanes: [${name}]}}`)).toBe('none')
    expect(problem(`upstreams: {${name}: {}}\nroutes: [{model: m, upstream: ${name}}]`)).toBe(
      'none',
    )
  },
)
