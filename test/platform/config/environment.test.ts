/** What a variable says, and what is told of one that says what cannot be. */
import { afterEach, expect, test, vi } from 'vitest'
import { checkUpstreamAddress, fleetMember } from '../../../services/platform/config/environment.ts'

afterEach(() => vi.unstubAllEnvs())

test('a name in the fleet is taken as it is, and empty is as good as absent', () => {
  vi.stubEnv('HEADGATE_FLEET_MEMBER', 'headgate-0')
  expect(fleetMember()).toBe('headgate-0')
  vi.stubEnv('HEADGATE_FLEET_MEMBER', '')
  expect(fleetMember()).toBeUndefined()
})

test('a name that no subject could hold is refused by the name of its variable', () => {
  for (const name of ['host.example', 'a b', 'x'.repeat(65)]) {
    vi.stubEnv('HEADGATE_FLEET_MEMBER', name)
    expect(fleetMember).toThrow(/^HEADGATE_FLEET_MEMBER: expected 1 to 64 characters/)
  }
})

test('an address that no call can be sent to is refused, and not repeated', () => {
  for (const address of ['ftp://u:secret@x', 'x', 'http://', 'http://a b', 'localhost:8000']) {
    vi.stubEnv('ANTHROPIC_BASE_URL', address)
    expect(checkUpstreamAddress).toThrow(
      'ANTHROPIC_BASE_URL: expected an address that begins with http:// or https://',
    )
    expect(checkUpstreamAddress).not.toThrow(/secret/)
  }
  vi.stubEnv('ANTHROPIC_BASE_URL', 'http://127.0.0.1:9000/prefix')
  expect(checkUpstreamAddress).not.toThrow()
  vi.stubEnv('ANTHROPIC_BASE_URL', '')
  expect(checkUpstreamAddress).not.toThrow()
})
