import { expect, test } from 'vitest'
import { addresses, checkVersion } from '../../../services/scheduler/nats/server-address.ts'

test('server addresses: several in one text, and who connects', () => {
  expect(addresses({ servers: 'nats://a:1, nats://b:2' }).servers).toEqual([
    'nats://a:1',
    'nats://b:2',
  ])
  expect(addresses({ servers: 'nats://me:s%3Acret@a:1' })).toEqual({
    servers: ['nats://a:1'],
    user: 'me',
    password: 's:cret',
    token: undefined,
  })
  expect(addresses({ servers: ['tls://token@a'] }).token).toBe('token')
  expect(addresses({ servers: 'nats://x:y@a', user: 'me', password: 'pw' })).toMatchObject({
    user: 'me',
    password: 'pw',
  })
})

test.each(['2.10.0', '2.10.27', '2.11.6', '2.15.1-beta', '3.0.0'])(
  'server %s will do',
  (version) => {
    checkVersion(version)
  },
)
test.each(['2.9.10', '1.4.1', '0'])(
  'server %s is too old, and both versions are named',
  (version) => {
    expect(() => checkVersion(version)).toThrow(`${version} is too old: Headgate needs 2.10.0`)
  },
)
