/** Lines that a person acts on: what runs, what changed, what is refused. */
import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { configFile, resolve } from '#contracts/config'
import { misspeltVariables } from '#contracts/environment-names'
import { changedKnobs } from '../../../services/platform/config/changes.ts'
import { createLog } from '../../../services/platform/log.ts'
import { EVERY_MS, refusalLines } from '../../../services/scheduler/observability/refusal-lines.ts'
import { addresses } from '../../../services/scheduler/nats/server-address.ts'
import { startLine } from '../../../services/scheduler/compose/start-line.ts'
import { manualClock } from '../../support/manual-clock.ts'
import { filesOf, inRoot } from '../../support/tree.ts'
import { event } from './events.ts'

const file = (of: object = {}) => configFile.parse(of)

test('a variable that nobody reads is told by what was meant, others are left alone', () => {
  const names = ['HEADGATE_HTTPPORT', 'headgate_config', 'HEADGATE_CONFIG', 'HEADGATE_KEY', 'HOME']
  expect(misspeltVariables([...names, 'HEADGATE_ACME_PASSWORD'])).toEqual([
    'HEADGATE_HTTPPORT is set, and nothing reads it; did you mean HEADGATE_HTTP_PORT?',
    'headgate_config is set, and nothing reads it; did you mean HEADGATE_CONFIG?',
  ])
  // Each that our own source reads.
  const read = filesOf(['services', 'deploy'], /\.(ts|ya?ml|env)$/).flatMap((path) =>
    readFileSync(inRoot(path), 'utf8').match(/\bHEADGATE_[A-Z_]*[A-Z]\b/g),
  )
  expect(misspeltVariables(read.filter((name) => name !== null))).toEqual([])
})

test('the start says on what it runs, and no secret', () => {
  const line = startLine({
    configPath: '/etc/headgate.yaml',
    config: resolve(file({ upstreams: { default: {}, other: { base_url: 'http://h:81/x' } } }))
      .config,
    env: (name) => (name === 'ANTHROPIC_API_KEY' ? 'sk-planted' : undefined),
    nats: {
      servers: addresses({ servers: 'nats://me:planted@one:4222,two' }).servers,
      version: '2.11.6',
    },
    doors: [
      ['operator', 'http://127.0.0.1:8780'],
      ['HTTP', null],
    ],
  })
  expect(line).toBe(
    'configuration: /etc/headgate.yaml; subjects: llm.v1; NATS: nats://one:4222, two (nats-server 2.11.6); upstream: default at api.anthropic.com (key of ANTHROPIC_API_KEY), other at h:81 (key of ANTHROPIC_API_KEY); doors: operator http://127.0.0.1:8780',
  )
  const bare = startLine({
    ...{ configPath: null, config: resolve(file()).config, env: () => undefined },
    ...{ nats: null, doors: [] },
  })
  expect(bare).toContain('none, all defaults')
  expect(bare).toContain('no key: ANTHROPIC_API_KEY is not set')
})

test.each([
  [{}, {}, ''],
  [{}, { drain_ms: 5 }, 'drain_ms'],
  [{}, { llm_gateway: { retry: { buffer_ms: 5 } } }, 'llm_gateway.retry.buffer_ms'],
  [{ lanes: { x: {} } }, { lanes: { x: { cap: 5 }, y: {} } }, 'lanes.x.cap, lanes.y'],
  [{}, { tenants: { acme: { keys: ['sha256-secret'] } } }, 'tenants.acme'],
  [{ tenants: { a: { weight: 1 } } }, { tenants: { a: { weight: 2 } } }, 'tenants.a'],
  [{}, { routes: [{ model: 'm' }] }, 'routes'],
])('a reload says which knobs changed, by name: %j to %j', (before, after, said) => {
  expect(changedKnobs(file(before), file(after))).toBe(said)
})

test('a reload that changes hundreds names a dozen', () => {
  const tenants = Object.fromEntries(Array.from({ length: 200 }, (_, i) => [`t${i}`, {}]))
  const said = changedKnobs(file(), file({ tenants }))
  expect(said).toMatch(/^tenants\.t0, .* and 188 more$/)
})

test('refusals are told at once, then once a minute, with how many and whose', () => {
  const clock = manualClock()
  const lines: { level: string; msg: string }[] = []
  const log = createLog({
    level: 'info',
    clock,
    to: { write: (line) => lines.push(JSON.parse(line) as { level: string; msg: string }) },
  })
  const recorder = refusalLines({ log, clock })
  const refused = (code: 'queue_full' | 'deadline_exceeded' | 'invalid_request', tenant: string) =>
    recorder.record(event('request.settled', { code, tenant, outcome: 'refused' }))
  refused('invalid_request', 'acme')
  expect(lines).toEqual([])
  for (let i = 0; i < 10_000; i++) refused('queue_full', i % 10 === 0 ? 'modest' : 'greedy')
  refused('deadline_exceeded', 'modest')
  expect(lines.map(({ msg }) => msg.slice(0, 30))).toEqual([
    'a call got queue_full: the que',
    'a call got deadline_exceeded: ',
  ])
  clock.advance(EVERY_MS)
  expect(lines).toHaveLength(3)
  expect(lines[2]?.msg).toContain(
    '9999 calls got queue_full in 60 s, 9000 of them of tenant greedy',
  )
  expect(new Set(lines.map(({ level }) => level))).toEqual(new Set(['info']))
  clock.advance(EVERY_MS * 10)
  expect(lines).toHaveLength(3)
  expect(clock.pending()).toBe(0)
  refused('queue_full', 'greedy')
  refused('queue_full', 'greedy')
  recorder.close()
  expect(lines).toHaveLength(5)
  expect(clock.pending()).toBe(0)
})
