import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { emptyWindow, failing, note, type FailureWindow } from '#machines/failure-window'

const by = { windowMs: 30_000, minSamples: 20, threshold: 0.25 }

function filled(rows: readonly { ok: boolean; tenant: string; at: number }[]): FailureWindow {
  return rows.reduce((window, row) => note(window, { ...row, windowMs: by.windowMs }), emptyWindow)
}
const many = (n: number, row: { ok: boolean; tenant: string; at: number }) =>
  Array.from({ length: n }, () => row)

describe('the failure window', () => {
  test.each([
    ['19 failures of 19 are too few', [...many(19, { ok: false, tenant: 'a', at: 1_000 })], false],
    ['exactly a quarter is not more than a quarter', [...many(15, { ok: true, tenant: 'a', at: 1_000 }), ...many(5, { ok: false, tenant: 'b', at: 1_000 })], false],
    ['more than a quarter, of two tenants', [...many(14, { ok: true, tenant: 'a', at: 1_000 }), ...many(3, { ok: false, tenant: 'a', at: 1_000 }), ...many(3, { ok: false, tenant: 'b', at: 1_000 })], true],
    ['one tenant fails where others succeed: its own trouble', [...many(10, { ok: true, tenant: 'a', at: 1_000 }), ...many(10, { ok: false, tenant: 'b', at: 1_000 })], false],
    ['one tenant alone fails: nobody else to protect', [...many(10, { ok: true, tenant: 'a', at: 1_000 }), ...many(10, { ok: false, tenant: 'a', at: 1_000 })], true],
  ] as const)('%s', (_, rows, expected) => {
    expect(failing(filled(rows), { ...by, at: 1_500 })).toBe(expected)
  }) // prettier-ignore

  test('what is older than the window does not count', () => {
    const window = filled([
      ...many(10, { ok: false, tenant: 'a', at: 0 }),
      ...many(10, { ok: false, tenant: 'b', at: 5_000 }),
    ])
    expect(failing(window, { ...by, at: 29_000 })).toBe(true)
    expect(failing(window, { ...by, at: 30_000 })).toBe(false)
  })

  test('agrees with a plain count of the last thirty seconds, and never keeps more', () => {
    const row = fc.record({
      ok: fc.boolean(),
      tenant: fc.constantFrom('a', 'b', 'c'),
      dt: fc.nat(3_000),
    })
    fc.assert(
      fc.property(fc.array(row, { maxLength: 150, size: 'max' }), (rows) => {
        let at = 0
        let window = emptyWindow
        const all: { ok: boolean; tenant: string; second: number }[] = []
        for (const { ok, tenant, dt } of rows) {
          at += dt
          window = note(window, { ok, tenant, at, windowMs: by.windowMs })
          all.push({ ok, tenant, second: Math.floor(at / 1_000) })
          const live = all.filter((one) => one.second > Math.floor((at - by.windowMs) / 1_000))
          const fails = live.filter((one) => !one.ok)
          const tenants = new Set(live.map((one) => one.tenant)).size
          const guilty = new Set(fails.map((one) => one.tenant)).size
          const expected =
            live.length >= 20 && fails.length > 0.25 * live.length && (tenants < 2 || guilty >= 2)
          expect(failing(window, { ...by, at })).toBe(expected)
          expect(window.older.length + 1).toBeLessThanOrEqual(30)
        }
      }),
      { numRuns: 150, seed: 7 },
    )
  })
})
