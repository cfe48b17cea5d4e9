/** Ten thousand tenants: sorted, searched, bounded; whatever they are called. */
import { describe, expect, test } from 'vitest'
import { tenantsPage, tenantsQuery, tenantPage } from '#contracts/dashboard'
import { Tenants, TENANTS_MAX } from '../../services/dashboard/tenants.ts'
import { event } from '../scheduler/observability/events.ts'
import { fed } from '../support/fed.ts'

const query = (of: object = {}) => tenantsQuery.parse(of)
const names = (count: number): string[] => Array.from({ length: count }, (_, i) => `tenant-${i}`)

function many(count: number): Tenants {
  const tenants = new Tenants()
  for (const [i, tenant] of names(count).entries()) {
    tenants.note(event('attempt.ended', { tenant, input_tokens: i, output_tokens: 1 }), 0)
    tenants.note(event('request.settled', { tenant }), 0)
  }
  return tenants
}

describe('at ten thousand', () => {
  const tenants = many(10_000)

  test('sorts by each column, both ways, a page at a time', () => {
    const most = tenants.page(query({ sort: 'tokens', limit: '3' }), [], 0)
    expect(most).toMatchObject({ total: 10_000, matching: 10_000 })
    expect(most.rows.map(({ tokens }) => tokens)).toEqual([10_000, 9_999, 9_998])
    const next = tenants.page(query({ sort: 'tokens', limit: '3', offset: '3' }), [], 0)
    expect(next.rows.map(({ tokens }) => tokens)).toEqual([9_997, 9_996, 9_995])
    const least = tenants.page(query({ sort: 'tokens', dir: 'asc', limit: '1' }), [], 0)
    expect(least.rows[0]!.tenant).toBe('tenant-0')
    const byName = tenants.page(query({ sort: 'tenant', dir: 'asc', limit: '2' }), [], 0)
    expect(byName.rows.map(({ tenant }) => tenant)).toEqual(['tenant-0', 'tenant-1'])
    const busy = tenants.page(query({ limit: '1' }), [{ name: 'new', inflight: 2, queued: 9 }], 0)
    expect(busy.rows[0]).toMatchObject({ tenant: 'new', inflight: 2, queued: 9 })
    expect(busy.total).toBe(10_001)
  })

  test('finds by part of a name, in either case', () => {
    const { matching, rows } = tenants.page(query({ search: 'NANT-999' }), [], 0)
    expect(matching).toBe(11)
    expect(rows.every(({ tenant }) => tenant.includes('999'))).toBe(true)
    expect(tenants.page(query({ search: 'nobody' }), [], 0)).toMatchObject({
      matching: 0,
      rows: [],
    })
  })

  test('a page past the end is empty, and no page is larger than the largest', () => {
    expect(tenants.page(query({ offset: '20000' }), [], 0).rows).toEqual([])
    expect(tenantsQuery.safeParse({ limit: '1000' }).success).toBe(false)
    expect(tenantsQuery.safeParse({ sort: 'constructor' }).success).toBe(false)
  })
})

test('a share is a part of all attempts of the last minutes', () => {
  const tenants = new Tenants()
  tenants.note(event('attempt.ended', { tenant: 'a', duration_ms: 3_000 }), 0)
  tenants.note(event('attempt.ended', { tenant: 'b', duration_ms: 1_000 }), 0)
  const share = (at: number): number =>
    tenants.page(query({ sort: 'share' }), [], at).rows[0]!.share
  expect(share(0)).toBe(0.75)
  tenants.note(event('attempt.ended', { tenant: 'b', duration_ms: 1_000 }), 120_000)
  // Two half-lives later: 750 of a, 250 + 1,000 of b.
  expect(share(120_000)).toBe(0.625)
})

test('memory is bounded, and whoever is heard of stays', () => {
  const tenants = new Tenants()
  for (let i = 0; i < 3 * TENANTS_MAX; i++) {
    tenants.note(event('request.settled', { tenant: `stranger-${i}` }), 0)
    if (i % 1_000 === 0) tenants.note(event('request.settled', { tenant: 'regular' }), 0)
  }
  expect(tenants.size).toBeLessThanOrEqual(TENANTS_MAX)
  const { rows } = tenants.page(query({ search: 'regular' }), [], 0)
  expect(rows[0]!.settled).toBe((3 * TENANTS_MAX) / 1_000)
})

test('a hostile name is data: it comes back as it was, in JSON, and breaks no stream', () => {
  const hostile = [
    '<script>alert(1)</script>',
    'a\n\ndata: {"seq":9}\n\n',
    '__proto__',
    'constructor',
    '"},{"x":"',
    '\u2028\u0000',
  ]
  const { feed, clock, page } = fed()
  for (const tenant of hostile) {
    feed.record(event('attempt.ended', { tenant, status: 429 }))
    feed.record(event('request.settled', { tenant, outcome: 'refused', code: 'queue_full' }))
    feed.record(event('request.preempted', { tenant }))
  }
  clock.advance(1_000)
  const { rows } = tenantsPage.parse(JSON.parse(feed.tenants({}).body))
  expect(rows.map(({ tenant }) => tenant).sort()).toEqual([...hostile].sort())
  expect(page.messages().map(({ name }) => name)).toEqual(['hello', 'frame'])
  expect(page.frames()[0]!.preemptions.map(({ tenant }) => tenant)).toEqual(hostile)
  for (const tenant of hostile) {
    const { row, codes } = tenantPage.parse(JSON.parse(feed.tenant(tenant).body))
    expect(row).toMatchObject({ tenant, refused: 1, http_429: 1 })
    expect(codes).toEqual({ queue_full: 1 })
  }
  expect(feed.tenant('toString').status).toBe(404)
})
