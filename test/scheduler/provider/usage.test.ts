/** What an answer says that it used, and what can be made of it when a proxy has had it in hand. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { costOfAnswer, paidFor } from '#contracts/cost'
import { pricesInForce } from '#contracts/default-prices'
import { readUsage, withDelivered } from '../../../services/scheduler/provider/usage.ts'

const whole = {
  input_tokens: 10,
  cache_creation_input_tokens: 30,
  cache_creation: { ephemeral_5m_input_tokens: 10, ephemeral_1h_input_tokens: 20 },
  cache_read_input_tokens: 40,
  output_tokens: 50,
  service_tier: 'standard',
  inference_geo: 'us',
  server_tool_use: { web_search_requests: 2, web_fetch_requests: 1 },
}
const read = {
  ...{ inputTokens: 10, cacheCreationTokens: 30, cacheCreation1hTokens: 20, cacheReadTokens: 40 },
  ...{ outputTokens: 50, tier: 'standard', place: 'us', webSearches: 2 },
}

describe('a usage', () => {
  test('is read whole, and a later one of a stream over it', () => {
    expect(readUsage(whole, null)).toEqual(read)
    const later = readUsage({ output_tokens: 90, cache_read_input_tokens: null }, read)
    expect(later).toEqual({ ...read, outputTokens: 90 })
  })

  test('has the sum of its cache writes where only the parts are told', () => {
    const { cache_creation } = whole
    expect(readUsage({ cache_creation }, null)).toMatchObject({ cacheCreationTokens: 30 })
  })

  test('lists its hops where they are all of it, each by its model', () => {
    const hop = { type: 'message', input_tokens: 10, output_tokens: 50, model: 'claude-opus-5' }
    const advisor = { ...hop, type: 'advisor_message', model: 'claude-fable-5' }
    const compaction = { type: 'compaction', input_tokens: 1_000, output_tokens: 5 }
    const used = readUsage(
      { input_tokens: 10, output_tokens: 50, iterations: [hop, advisor, compaction] },
      null,
    )
    expect(used?.hops?.map(({ model }) => model)).toEqual(['claude-opus-5', 'claude-fable-5', null])
    const of = { model: 'claude-opus-5', prices: pricesInForce(undefined) }
    const each = paidFor(used!, of).map(({ model, cost }) => [model, cost])
    expect(each).toEqual([
      ['claude-opus-5', 10 * 5 + 50 * 25],
      ['claude-fable-5', 10 * 10 + 50 * 50],
      ['claude-opus-5', 1_000 * 5 + 5 * 25],
    ])
    expect(costOfAnswer(used!, of)).toBe(1_300 + 2_600 + 5_125)
    expect(costOfAnswer(used!, { ...of, prices: new Map() })).toBeNull()
  })

  test('has no hops where the list leaves something out', () => {
    const iterations = [{ type: 'message', input_tokens: 10, output_tokens: 49 }]
    expect(readUsage({ ...whole, iterations }, null)?.hops).toBeUndefined()
    for (const odd of [[], {}, 'x', null, [null, 1]])
      expect(readUsage({ ...whole, iterations: odd }, null)).toEqual(read)
  })

  test('has those of a moment before only while they are still all of it', () => {
    const hop = { type: 'message', input_tokens: 10, output_tokens: 50 }
    const first = readUsage({ input_tokens: 10, output_tokens: 50, iterations: [hop] }, null)
    expect(readUsage({}, first)?.hops).toHaveLength(1)
    expect(readUsage({ output_tokens: 51 }, first)?.hops).toBeUndefined()
  })

  test('of odd shapes has no count below nothing, and none that is no number', () => {
    const odd = { input_tokens: '12', output_tokens: -5, cache_read_input_tokens: 3.4 }
    expect(readUsage(odd, null)).toEqual({
      ...{ inputTokens: 12, outputTokens: 0, cacheReadTokens: 3, cacheCreationTokens: 0 },
    })
    expect(readUsage({ input_tokens: 1e300, service_tier: 'x y' }, null)).toEqual({
      ...{ inputTokens: 0, outputTokens: 0, cacheReadTokens: 0, cacheCreationTokens: 0 },
    })
  })

  test('says how much of a broken stream is our guess', () => {
    const used = { inputTokens: 5, cacheCreationTokens: 0, cacheReadTokens: 0, outputTokens: 1 }
    const broken = withDelivered({ usage: used, deltas: 1, deltaBytes: 480 })!
    expect(broken.outputTokens - broken.guessedTokens!).toBe(1)
    expect(withDelivered({ usage: used, deltas: 0, deltaBytes: 0 })).toEqual(used)
  })

  test('whatever stands there costs nothing less than nothing', () => {
    const prices = pricesInForce(undefined)
    fc.assert(
      fc.property(fc.array(fc.anything(), { maxLength: 8 }), (values) => {
        const names = [...Object.keys(whole), 'iterations']
        const usage = Object.fromEntries(values.map((value, i) => [names[i], value]))
        const used = readUsage(usage, null)
        const cost = costOfAnswer(used!, { model: 'claude-opus-5', prices })
        expect(cost).toBeGreaterThanOrEqual(0)
      }),
    )
  })
})
