/** What a change takes: the list beside the knobs, and how two files are compared by it. */
import { expect, test } from 'vitest'
import { configFile } from '#contracts/config'
import { afterStart, changesThatTake } from '../../../services/platform/config/changes.ts'
import { knobs } from '../../../services/platform/config/knobs.ts'

const file = (of: object = {}) => configFile.parse(of)
const differ = (takes: 'file' | 'restart', before: object, after: object) =>
  changesThatTake(takes, { before: file(before), after: file(after) })

test('every address and every name of a secret is marked, whatever is added later', () => {
  const free = knobs().filter(
    ({ path, takes }) =>
      takes === null && /^(upstreams|nats)\.|^subject_prefix$|key(s|_env)$|url/.test(path),
  )
  expect(free.map(({ path }) => path)).toEqual([])
})

test('what is read at a start has one place each, so that it can be kept', () => {
  const at = knobs().filter(({ takes }) => takes === 'restart')
  expect(at.length).toBeGreaterThan(10)
  expect(at.filter(({ path }) => /[<[]/.test(path))).toEqual([])
  const kept = afterStart(
    file(),
    file({ subject_prefix: 'foo', events: { buffer: 11 }, drain_ms: 1 }),
  )
  expect(kept).toEqual(file({ drain_ms: 1 }))
})

test.each([
  ['file', {}, { drain_ms: 1 }, []],
  ['file', {}, { upstreams: { default: {} } }, []],
  ['file', {}, { upstreams: { other: {} } }, ['upstreams']],
  [
    'file',
    {},
    { upstreams: { default: { version: '2024-01-01' } } },
    ['upstreams.default.version'],
  ],
  ['file', { tenants: { a: { weight: 2 } } }, {}, []],
  [
    'file',
    { tenants: { a: { keys: ['k1k1k1k1', 'k2k2k2k2'] } } },
    { tenants: { a: { keys: ['k2k2k2k2', 'k1k1k1k1'] } } },
    [],
  ],
  [
    'file',
    { tenants: { a: { keys: ['k1k1k1k1'] } } },
    { tenants: { b: { keys: ['k1k1k1k1'] } } },
    ['tenants.a.keys', 'tenants.b.keys'],
  ],
  [
    'restart',
    {},
    { subject_prefix: 'x', nats: { egress_connections: 3 } },
    ['subject_prefix', 'nats.egress_connections'],
  ],
] as const)('%s: %j to %j', (takes, before, after, paths) => {
  expect(differ(takes, before, after)).toEqual(paths)
})
