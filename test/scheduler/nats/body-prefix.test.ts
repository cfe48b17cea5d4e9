/** Which cached prefix a body begins with, read from its bytes. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { prefixOfBody } from '../../../services/scheduler/nats/body-prefix.ts'
import { parseRequest } from '../../../services/scheduler/nats/request-parse.ts'

const prefixOf = (body: unknown, space?: string): string | null =>
  prefixOfBody(Buffer.from(JSON.stringify(body, null, space)))

const MARK = { cache_control: { type: 'ephemeral' } }
const text = (words: string, more: object = {}) => ({ type: 'text', text: words, ...more })
const tool = (name: string, more: object = {}) => ({ name, input_schema: {}, ...more })
const said = (...content: unknown[]) => ({ role: 'user', content })
const good = { model: 'claude-x', max_tokens: 1 }

describe('none', () => {
  test.each([
    ['no mark', { ...good, system: 'You are', messages: [said(text('hello'))] }],
    ['marks in later messages only', { messages: [said(text('a')), said(text('b', MARK))] }],
    ['a text that speaks of it', { messages: [said(text('"cache_control": 1'))] }],
    ['a value of that name', { tools: [tool('a', { required: ['cache_control'] })] }],
    ['a text that ends with it', { messages: [said(text('"cache_control'))] }],
    ['a key that ends with it', { tools: [tool('a', { 'x"cache_control': 1 })] }],
    ['a mark elsewhere', { metadata: MARK, messages: [said(text('a'))] }],
  ])('%s', (_, body) => expect(prefixOf(body)).toBeNull())
})

describe('up to and with the last block that is marked', () => {
  const all = {
    ...good,
    tools: [tool('a'), tool('b', MARK), tool('c')],
    system: [text('one'), text('two', MARK), text('three')],
    messages: [said(text('doc', MARK), text('ask'))],
  }
  const { tools, system, messages } = all
  const unmarked = [said(text('doc'), text('ask'))]

  test.each([
    ['what follows in the first message', { messages: [said(text('doc', MARK), text('else'))] }],
    ['later messages', { messages: [...messages, said(text('more', MARK))] }],
    ['how much may be answered', { max_tokens: 7 }],
    ['the order of the keys', { messages, system, tools }],
  ])('not %s', (_, more) => {
    expect(prefixOf({ ...all, ...more })).toBe(prefixOf(all))
  })

  test.each([
    ['of the first message', { messages: [said(text('other', MARK), text('ask'))] }],
    ['of system, its last blocks too', { system: [...system, text('four')] }],
    ['of tools', { tools: [tool('a')] }],
    ['no system', { system: undefined }],
    ['the same in another place', { tools: system, system: tools }],
  ])('another: %s', (_, more) => {
    expect(prefixOf({ ...all, ...more })).not.toBe(prefixOf(all))
  })

  test('of system, where the message has none: what follows is no part of it', () => {
    const one = { ...all, messages: unmarked }
    expect(prefixOf(one)).toBe(prefixOf({ ...one, messages: [said('else')] }))
    expect(prefixOf(one)).toBe(prefixOf({ ...one, system: system.slice(0, 2) }))
    expect(prefixOf(one)).not.toBe(prefixOf({ ...one, tools: tools.slice(0, 2) }))
    expect(prefixOf(one)).not.toBe(prefixOf({ ...one, system: [text('two', MARK)] }))
  })

  test('of tools, where nothing else has one', () => {
    const one = { tools, system: 'You are', messages: unmarked }
    expect(prefixOf(one)).toBe(prefixOf({ tools: tools.slice(0, 2), messages: unmarked }))
  })

  test('the same blocks as tools and as system are two prefixes', () => {
    const blocks = [text('two', MARK)]
    expect(prefixOf({ tools: blocks })).not.toBe(prefixOf({ system: blocks }))
  })

  test('whatever spaces stand around a mark', () => {
    const one = '{ "tools" : [ { "cache_control"\n: null } , 1 ] , "messages" : [ ] }'
    expect(prefixOfBody(Buffer.from(one))).toMatch(/^[0-9a-f]{32}$/)
  })

  test('a key that stands twice counts as the last one says', () => {
    const twice = (first: string, last: string): string =>
      `{"system":${first},"system":${last},"messages":[]}`
    const of = (body: string): string | null => prefixOfBody(Buffer.from(body))
    const marked = JSON.stringify([text('two', MARK)])
    expect(of(twice(marked, '"x"'))).toBeNull()
    expect(of(twice('"x"', marked))).toBe(of(twice('"y"', marked)))
  })
})

test('any JSON: equal beginnings have equal names, whatever stands behind them', () => {
  const odd = fc.jsonValue({ maxDepth: 3 })
  const block = fc.oneof(
    odd,
    fc.record({ type: fc.constant('text'), text: fc.string() }),
    fc.record({ text: fc.string(), cache_control: odd }),
  )
  const body = fc.record(
    {
      tools: fc.oneof(odd, fc.array(block)),
      system: fc.oneof(odd, fc.array(block)),
      messages: fc.array(
        fc.oneof(odd, fc.record({ role: fc.string(), content: fc.array(block) })),
        {
          maxLength: 3,
        },
      ),
    },
    { requiredKeys: [] },
  )
  fc.assert(
    fc.property(body, fc.constantFrom(undefined, '\t'), odd, (of, space, more) => {
      const found = prefixOf(of, space)
      expect(found === null || /^[0-9a-f]{32}$/.test(found)).toBe(true)
      const last = { ...of, more, messages: [...(of.messages ?? []), more] }
      if ((of.messages ?? []).length > 0) expect(prefixOf(last, space)).toBe(found)
      expect(found !== null).toBe(isMarked(of))
    }),
    { numRuns: 2_000 },
  )
})

/** As a reader of the parsed body would have it. */
const isMarked = (of: { tools?: unknown; system?: unknown; messages?: unknown[] }): boolean =>
  holdsMark([of.tools, of.system, of.messages?.[0]])

function holdsMark(value: unknown): boolean {
  if (value === null || typeof value !== 'object') return false
  return Object.hasOwn(value, 'cache_control') || Object.values(value).some(holdsMark)
}

describe('of a request', () => {
  const body = { ...good, system: [text('two', MARK)], messages: [said(text('ask'))] }
  const parse = (headers: Record<string, string>, prefixes?: boolean) =>
    parseRequest({
      message: {
        data: Buffer.from(JSON.stringify(body)),
        header: (name) => headers[name],
        names: () => Object.keys(headers),
      },
      makeId: () => 'made',
      bytesMax: 10_000,
      prefixes,
    })

  test('the header says it; else the body, where anybody waits for prefixes', () => {
    expect(parse({})).toMatchObject({ ok: true, prefix: null })
    expect(parse({}, true)).toMatchObject({ ok: true, prefix: prefixOf(body) })
    expect(parse({ 'Headgate-Prefix': 'mine' }, true)).toMatchObject({ ok: true, prefix: 'mine' })
    expect(parse({ 'Headgate-Prefix': 'mine' })).toMatchObject({ ok: true, prefix: 'mine' })
  })

  test('a name that is none is refused without a word of it', () => {
    expect(parse({ 'Headgate-Prefix': 'no name' })).toMatchObject({
      ok: false,
      refusal: {
        code: 'invalid_request',
        message: 'Headgate-Prefix: expected 1 to 64 characters of A-Z a-z 0-9 _ -',
      },
    })
  })
})
