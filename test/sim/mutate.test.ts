/** The mutation runner's own parts: where a source can be changed, to what, and what the page says of it. */
import { describe, expect, test } from 'vitest'
import { filesOf, read } from '../support/tree.ts'
import { isBalanced, isProgram, masked, mutated, placesOf } from './mutate.ts'
import { drawn, mutantsOf, nameOf } from './mutant-sample.ts'
import { MUTANT_ROOMS } from './mutant-rooms.ts'
import { mutantsText, scoreOf, unexplained, type Fate, type Judged } from './mutants-page.ts'

/** What becomes of the source, by operator. */
function changesOf(source: string): Record<string, string[]> {
  const changes: Record<string, string[]> = {}
  for (const place of placesOf(source))
    (changes[place.operator] ??= []).push(mutated(source, place))
  return changes
}

describe('places', () => {
  test.each([
    ['comparison', 'a < b', ['a <= b']],
    ['comparison', 'a >= b', ['a > b']],
    ['comparison', 'a === b', ['a !== b']],
    ['and, or', 'a && b', ['a || b']],
    ['plus, minus', 'a + b', ['a - b']],
    ['plus, minus', 'a -= b', ['a += b']],
    ['plus, minus', 'a++', ['a--']],
    ['true, false', 'f(true)', ['f(false)']],
    ['constant', 'const a = 1_000', ['const a = 1001', 'const a = 999']],
    ['condition', 'if (f(a)) b = c', ['if (!(f(a))) b = c']],
    ['always the fallback', 'a?.b(c) ?? d', ['d']],
    ['no fallback', 'f(a?.b ?? d(1), e)', ['f(a?.b, e)']],
    ['without the statement', '  this.#stop(a)\n', ['  ;\n']],
    ['without the statement', 'f = () => {\n  if (a) return b\n}', ['f = () => {\n  ;\n}']],
  ])('%s: %j', (operator, source, becomes) => {
    expect(changesOf(source)[operator]).toEqual(becomes)
  })

  test.each([
    ['a text', "a = 'b < c && true'"],
    ['a text with code', 'a = `b < c ${d} && true`'],
    ['a comment', '/** a < b */ // 1 && true\na = b'],
    ['a regular expression', 'a = b(/c < 1/g, /[/] && /)'],
    ['a type', 'type A = B<1> | true\nlet a: Map<C, 1> = b as D<1>'],
    ['an arrow', 'a = (b: number): number => b'],
    ['a sum of texts', "a = 'b' + c"],
    ['a name', 'a = b1.true'],
  ])('%s has none', (_, source) => {
    expect(placesOf(source)).toEqual([])
  })

  test('what stands in a text as code is code, however deep', () => {
    const source = 'a = `b ${c < d ? `e ${f && g} < 1` : h} < 2`'
    expect(changesOf(source)).toEqual({
      comparison: ['a = `b ${c <= d ? `e ${f && g} < 1` : h} < 2`'],
      'and, or': ['a = `b ${c < d ? `e ${f || g} < 1` : h} < 2`'],
    })
  })

  test('every source of the rooms is read to its end, and has places', () => {
    for (const room of MUTANT_ROOMS) {
      const files = filesOf([room.at], /\.ts$/)
      const wrong = files.filter((file) => !isBalanced(masked(read(file))))
      expect(wrong).toEqual([])
      expect(files.flatMap((file) => placesOf(read(file))).length).toBeGreaterThan(100)
    }
  })

  test('what is no program is known by its syntax', () => {
    expect([isProgram('const a: B = c'), isProgram('const a = ;')]).toEqual([true, false])
    // The statement is the whole of an expression here.
    expect(mutantsOf('x.ts', 'const a =\n  b(c)\n')).toEqual([])
  })
})

describe('a mutant', () => {
  const source = 'const a = b\nif (a < b) f(a)\n'

  test('is told by its line, as it is and as it would be', () => {
    const [one] = mutantsOf('x.ts', source).filter(({ operator }) => operator === 'comparison')
    expect(one).toMatchObject({ line: 2, was: 'if (a < b) f(a)', now: 'if (a <= b) f(a)' })
  })

  test('of several lines is told as one', () => {
    const [one] = mutantsOf('x.ts', 'const a = b\nif (\n  a &&\n  b\n)\n  f(a)\n').filter(
      ({ operator }) => operator === 'condition',
    )
    expect(one).toMatchObject({ line: 2, was: 'if ( a && b )', now: 'if (!( a && b ))' })
  })

  test('has a name of its own, which stays when lines move', () => {
    const names = mutantsOf('x.ts', source).map(nameOf)
    expect(new Set(names).size).toBe(names.length)
    expect(mutantsOf('x.ts', `\n\n${source}`).map(nameOf)).toEqual(names)
  })
})

test('a sample is drawn by its seed, each at most once, in order', () => {
  const all = Array.from({ length: 50 }, (_, i) => i)
  const ten = drawn(all, 10, 1)
  expect(ten).toEqual([...new Set(ten)].toSorted((a, b) => a - b))
  expect(ten.length).toBe(10)
  expect(drawn(all, 10, 1)).toEqual(ten)
  expect(drawn(all, 10, 2)).not.toEqual(ten)
  expect(drawn(all, 90, 1)).toEqual(all)
})

describe('the page', () => {
  const judged = (fate: Fate, now: string): Judged => ({
    room: 'core',
    mutant: { file: 'a.ts', line: 3, was: 'a || b', now, operator: 'and, or', source: now },
    fate,
  })
  const all = [
    judged('killed', '1'),
    judged('timed out', '2'),
    judged('survived', '3'),
    judged('survived', '4'),
    judged('not a program', '5'),
  ]
  const explained = [{ file: 'a.ts', was: 'a || b', now: '3', why: 'They are the same.' }]

  test('counts what is noticed of what is a program', () => {
    expect(scoreOf(all)).toBe(0.5)
    const text = mutantsText({
      judged: all,
      explained,
      seed: 1,
      sample: 5,
      places: new Map([['core', 70]]),
    })
    expect(text).toContain('| core | 70 | 5 | 1 | 1 | 2 | 1 | 50 % |')
    expect(text).toContain('They are the same.\n\n```diff\n- a || b\n+ 3\n')
    expect(text).toContain('**Not explained.**\n\n```diff\n- a || b\n+ 4\n')
  })

  test('a survivor wants an explanation of this very change', () => {
    expect(unexplained(all, explained)).toEqual([all[3]])
  })
})
