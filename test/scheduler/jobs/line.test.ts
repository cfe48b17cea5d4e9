/** Places of a flow's jobs: whatever comes in whatever order, they leave in theirs, each once. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Line } from '../../../services/scheduler/jobs/line.ts'

describe('a line of places', () => {
  test('is as a sorted set, whatever is done with it', () => {
    const act = fc.oneof(
      fc.record({ kind: fc.constantFrom('add', 'aside'), seq: fc.integer({ min: 1, max: 60 }) }),
      fc.record({ kind: fc.constant('shift'), seq: fc.constant(0) }),
    )
    fc.assert(
      fc.property(fc.array(act, { maxLength: 200 }), (acts) => {
        const line = new Line()
        const model = new Set<number>()
        for (const { kind, seq } of acts) {
          if (kind === 'shift') {
            const first = model.size === 0 ? undefined : Math.min(...model)
            expect(line.first).toBe(first)
            expect(line.shift()).toBe(first)
            if (first !== undefined) model.delete(first)
          } else {
            expect(line[kind as 'add' | 'aside'](seq)).toBe(!model.has(seq))
            model.add(seq)
          }
          expect(line.length).toBe(model.size)
          for (const one of [1, 30, 60, seq]) expect(line.has(one)).toBe(model.has(one))
        }
      }),
      { numRuns: 300 },
    )
  })

  test('gives back what it has taken from the front, and goes on', () => {
    const line = new Line()
    for (let seq = 1; seq <= 5_000; seq++) line.add(seq)
    for (let seq = 1; seq <= 4_000; seq++) expect(line.shift()).toBe(seq)
    expect([line.length, line.first, line.has(4_000), line.has(4_001)]).toEqual([
      ...[1_000, 4_001, false, true],
    ])
  })

  test('is cut behind so many, and says from where on; what stands aside stays', () => {
    const line = new Line()
    for (const seq of [10, 20, 30, 40]) line.add(seq)
    line.aside(5)
    expect(line.shift()).toBe(5)
    expect(line.shift()).toBe(10)
    line.aside(35)
    expect(line.cut(3)).toBe(null)
    expect(line.cut(1)).toBe(30)
    expect([line.shift(), line.shift(), line.shift()]).toEqual([20, 35, undefined])
    expect(line.passed).toBe(20)
  })
})
