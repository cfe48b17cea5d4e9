/** What a lane adds to a body, and what it leaves alone. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { withBeta, withFields } from '#scheduler/loop/with-fields'
import { LoopWorld } from '../../support/loop-world.ts'

const ok = { firstByteMs: 1, end: { kind: 'ok' as const, status: 200 } }
const FILE = { lanes: { premium: { fast: ['m'] }, batch: { service_tier: 'standard_only' } } }
const BODY = { model: 'm', max_tokens: 5, messages: [{ role: 'user', content: '{"speed":"no"}' }] }

interface Served {
  speed?: string
  service_tier?: string
}

async function sent(of: { lane: string; model?: string; more?: Served; beta?: string }) {
  const world = new LoopWorld({ script: () => ok, file: FILE })
  const body = { ...BODY, ...of.more }
  world.request({
    ...{ lane: of.lane, model: of.model ?? 'm', body: Buffer.from(JSON.stringify(body)) },
    ...{ speed: of.more?.speed ?? null, tier: of.more?.service_tier ?? null },
    headers: of.beta === undefined ? {} : { beta: of.beta },
  })
  await world.pass(100)
  const [call] = world.provider.calls
  if (call === undefined) throw new Error('nothing was sent')
  const said = JSON.parse(Buffer.from(call.body).toString()) as Served & Record<string, unknown>
  const { speed, service_tier: tier, ...rest } = said
  return { speed, tier, rest, beta: call.headers.beta, fast: call.fast }
}

describe('a lane', () => {
  test('that asks a model in fast mode says so, with the feature, on a route of its own', async () => {
    const { rest, ...said } = await sent({ lane: 'premium', beta: 'other-2026' })
    expect(said).toEqual({
      ...{ speed: 'fast', tier: undefined, fast: true },
      beta: 'other-2026,fast-mode-2026-02-01',
    })
    expect(rest).toEqual(BODY)
  })

  test('asks its other models as ever', async () => {
    const { speed, beta, fast } = await sent({ lane: 'premium', model: 'n' })
    expect([speed, beta, fast]).toEqual([undefined, undefined, false])
  })

  test('leaves committed capacity to others where it is told to', async () => {
    expect((await sent({ lane: 'batch' })).tier).toBe('standard_only')
  })

  test('leaves what a body says itself', async () => {
    expect((await sent({ lane: 'premium', more: { speed: 'standard' } })).speed).toBe('standard')
    expect((await sent({ lane: 'batch', more: { service_tier: 'auto' } })).tier).toBe('auto')
  })
})

test('fields are put before those of any object, and nothing else of it is touched', () => {
  const value = fc.json().map((text) => JSON.parse(text) as unknown)
  fc.assert(
    fc.property(
      fc.dictionary(fc.string(), value, { minKeys: 1, noNullPrototype: true }),
      fc.constantFrom(undefined, 2),
      (object, space) => {
        const text = ` ${JSON.stringify(object, null, space)}`
        const edited = Buffer.from(withFields(Buffer.from(text), { zz: 1, yy: 'x' })).toString()
        expect(edited.endsWith(text.slice(text.indexOf('{') + 1))).toBe(true)
        expect(JSON.parse(edited)).toEqual({ zz: 1, yy: 'x', ...JSON.parse(text) })
      },
    ),
  )
})

test('a feature is added to those that are asked for', () => {
  const all = [withBeta(undefined, 'b'), withBeta(' ', 'b'), withBeta('a', 'b')]
  expect(all).toEqual(['b', 'b', 'a,b'])
  // It stands there already.
  expect(withBeta('a, b', 'b')).toBe('a, b')
})
