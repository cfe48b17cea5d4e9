/** Who may say and hear what, as lists of subjects. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  gatewayPermissions,
  LANES_MAX,
  operatorPermissions,
  OWN_USERS,
  schedulerPermissions,
  tenantPermissions,
} from '#contracts/permissions'

const subjectPrefix = 'llm'
const of = (tenant: string, lanes: string[] | null = null) =>
  tenantPermissions({ subjectPrefix, tenant, lanes })

describe('permissions', () => {
  test('of a tenant are its own subjects, its own inbox, and what is told of its own', () => {
    expect(of('acme')).toEqual({
      publish: [
        'llm.v1.request.acme.*',
        'llm.v1.submit.acme.*',
        'llm.v1.fetch.acme.*',
        'llm.v1.cancel.acme.*',
        'llm.v1.status.acme.*',
        'llm.v1.count_tokens.acme',
        'llm.v1.models.acme',
      ],
      subscribe: ['_INBOX_acme.>', 'llm.v1.result.acme.*', 'llm.v1.event.request.acme.*'],
    })
  })

  test('of a tenant with lanes name them, for requests and jobs alike', () => {
    expect(of('acme', ['premium', 'batch']).publish.slice(0, 4)).toEqual([
      'llm.v1.request.acme.premium',
      'llm.v1.request.acme.batch',
      'llm.v1.submit.acme.premium',
      'llm.v1.submit.acme.batch',
    ])
    expect(of('acme', ['premium']).publish).not.toContain('llm.v1.request.acme.*')
  })

  test('of the gateway are those of its tenants, and each inbox by name', () => {
    const tenants = [
      { tenant: 'a', lanes: null },
      { tenant: 'b', lanes: ['batch'] },
    ]
    const gateway = gatewayPermissions({ subjectPrefix, tenants })
    expect(gateway.publish).toEqual([
      'llm.v1.cancel.gateway.*',
      ...[...of('a').publish, 'llm.v1.batch.a.*'],
      ...[...of('b', ['batch']).publish, 'llm.v1.batch.b.*'],
    ])
    expect(gateway.subscribe).toEqual(['_INBOX_gateway.>', '_INBOX_a.>', '_INBOX_b.>'])
  })

  test('of the operator are administration and what is told, and no answer of anybody', () => {
    expect(operatorPermissions({ subjectPrefix })).toEqual({
      publish: ['llm.v1.admin.*', 'llm.v1.cancel.operator.*', '$SRV.>'],
      subscribe: ['_INBOX_operator.>', 'llm.v1.event.>'],
    })
  })

  test('are never an empty list, which a server would read as no restriction', () => {
    const all = [
      gatewayPermissions({ subjectPrefix, tenants: [] }),
      operatorPermissions({ subjectPrefix }),
      schedulerPermissions(),
      of('a'),
    ]
    for (const { publish, subscribe } of all)
      expect(Math.min(publish.length, subscribe.length)).toBeGreaterThan(0)
  })

  test.each(['', '*', '>', 'a.b', 'a*', 'a b', 'a\n', 'ä', 'x'.repeat(65), '$JS'])(
    'no name that could mean more than itself: %j',
    (odd) => {
      expect(() => of(odd)).toThrow('tenant: expected')
      expect(() => of('a', [odd])).toThrow('lane: expected')
      expect(() => operatorPermissions({ subjectPrefix: odd })).toThrow('prefix: expected')
      const tenants = [{ tenant: odd, lanes: null }]
      expect(() => gatewayPermissions({ subjectPrefix, tenants })).toThrow('tenant: expected')
    },
  )

  test.each(OWN_USERS)('no tenant by the name of %s, whose inbox it would hear', (name) => {
    expect(() => of(name)).toThrow('tenant: the name of a user of our own')
  })

  test('as many lanes as there may be, and at least one', () => {
    const lanes = (many: number) => Array.from({ length: many }, (_, i) => `lane${i}`)
    expect(of('a', lanes(LANES_MAX)).publish).toHaveLength(2 * LANES_MAX + 5)
    for (const many of [0, LANES_MAX + 1]) expect(() => of('a', lanes(many))).toThrow('lanes:')
  })

  test('of two tenants have no subject in common, whatever their names', () => {
    const name = fc.stringMatching(/^[A-Za-z0-9_-]{1,64}$/)
    fc.assert(
      fc.property(name, name, (a, b) => {
        if (a === b || OWN_USERS.includes(a) || OWN_USERS.includes(b)) return
        for (const side of ['publish', 'subscribe'] as const)
          for (const one of of(a)[side])
            for (const other of of(b)[side]) expect(overlap(one, other)).toBe(false)
      }),
    )
  })
})

/** Whether some subject fits both patterns. */
function overlap(one: string, other: string): boolean {
  const [left, right] = [one.split('.'), other.split('.')]
  for (let at = 0; at < Math.max(left.length, right.length); at++) {
    const [a, b] = [left[at], right[at]]
    if (a === '>' || b === '>') return true
    if (a === undefined || b === undefined) return false
    if (a !== b && a !== '*' && b !== '*') return false
  }
  return true
}
