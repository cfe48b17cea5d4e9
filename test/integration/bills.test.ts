/** The bill: what is reported as used is what the provider said, to the token, whatever became of the calls. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { UsageReport } from '#contracts/usage-report'
import type { LedgerEntry } from '../../services/simulated-provider/ledger.ts'
import type { FaultSpec } from '../../services/simulated-provider/listener.ts'
import { body, endOf, openHouse, type House } from '../support/house.ts'

const MODELS = ['claude-sonnet-4-5', 'claude-opus-5', 'claude-nobody-prices']
const YAML = `
llm_gateway:
  retry: { base_backoff_ms: 1, cap_backoff_ms: 2, budget_start: 10000, budget_max: 10000 }
  circuit_breaker: { min_samples: 10000 }
limits: { idle_ms: 400 }
`

const CACHES = {
  ...{ simulated_input_tokens: 50, simulated_cache_read_tokens: 3 },
  ...{ simulated_cache_write_tokens: 12, simulated_cache_write_1h_tokens: 5 },
}

/** Of a stream that breaks: long enough that it never gets to count its output. */
const LONG = { simulated_output_tokens: 60 }

let house: House
beforeAll(async () => {
  house = await openHouse({ yaml: YAML, usage: true, http: true })
})
afterAll(() => house.close())

const of = (tenant: string, model: string, more: object = {}) =>
  body({ model, metadata: { user_id: tenant, ...more } })

/** What the provider told us of a call, and so what we may be asked to know. */
function said({ status, finished, stream, billed }: LedgerEntry) {
  if (status !== 200 || (!finished && !stream)) return { input: 0, output: 0 }
  // A stream that breaks has said its input, and the first token of its output.
  return finished ? billed : { input: billed.input, output: 1 }
}

const report = async (by: string[]): Promise<UsageReport> =>
  (await house.client.as('operator').admin('usage', { by })) as UsageReport

test('is what the provider said, with calls that broke, were cancelled or came too late among them', async () => {
  const { client, provider } = house
  const during = async (fault: FaultSpec, act: () => Promise<unknown>): Promise<void> => {
    provider.fault(fault)
    await act()
    await house.rest()
    provider.clear()
  }
  for (const tenant of ['acme', 'globex'])
    for (const model of MODELS) {
      const mine = client.as(tenant)
      for (let i = 0; i < 4; i++) {
        await mine.request(of(tenant, model, { simulated_output_tokens: 7 + i }))
        await mine.stream(of(tenant, model, CACHES)).final
      }
      await during({ kind: 'internal_500', times: 1 }, () => mine.request(of(tenant, model)))
      await during({ kind: 'error_event_late', after: 2, times: 1 }, () =>
        endOf(mine.stream(of(tenant, model, LONG)).final),
      )
      await during({ kind: 'reset_mid_stream', after: 5, times: 1 }, () =>
        endOf(mine.stream(of(tenant, model, LONG)).final),
      )
      await during({ kind: 'stalled_stream', after: 5, times: 1 }, () =>
        endOf(mine.stream(of(tenant, model, LONG), { deadlineMs: 250 }).final),
      )
      await during({ kind: 'stalled_stream', after: 5, times: 1 }, async () => {
        const abort = new AbortController()
        const stream = mine.stream(of(tenant, model, LONG), { signal: abort.signal })
        for await (const _ of stream) break
        abort.abort()
        await stream.final.catch(() => {})
      })
    }

  const { entries } = provider.ledger()
  const { rows, shared } = await report(['tenant', 'model'])
  expect(shared).toBe(true)
  expect(rows).toHaveLength(6)
  for (const row of rows) {
    const theirs = entries.filter(({ user, model }) => user === row.tenant && model === row.model)
    const sum = (kind: 'input' | 'output') =>
      theirs.reduce((all, entry) => all + said(entry)[kind], 0)
    expect({
      input: row.input_tokens - row.guessed_input_tokens,
      output: row.output_tokens - row.guessed_output_tokens,
    }).toEqual({ input: sum('input'), output: sum('output') })
    expect(row.calls).toBe(theirs.length)
    expect([row.cache_read_tokens, row.cache_write_5m_tokens, row.cache_write_1h_tokens]).toEqual([
      4 * 3,
      4 * 7,
      4 * 5,
    ])
    const priced = row.model !== MODELS[2]
    expect(row.unpriced_tokens > 0).toBe(!priced)
    expect(row.cost_usd === null).toBe(!priced)
  }
  expect(entries.filter(({ aborted }) => aborted)).toHaveLength(6 * 4)
})

test('a call of which nothing was said when it ended counts its input, as a guess', async () => {
  const [model = ''] = MODELS
  const mine = house.client.as('hasty')
  house.provider.fault({ kind: 'slow_headers', waitMs: 30_000 })
  const late = mine.request(of('hasty', model), { deadlineMs: 300 })
  await expect(late).rejects.toMatchObject({ code: 'deadline_exceeded' })
  const left = mine.request(of('hasty', model), { id: 'left' })
  await expect.poll(() => house.provider.stats().inFlight, { timeout: 15_000 }).toBe(1)
  await mine.cancel('left')
  await expect(left).rejects.toMatchObject({ code: 'cancelled' })
  await house.rest()
  house.provider.clear()
  const { rows } = await report(['tenant'])
  const row = rows.find(({ tenant }) => tenant === 'hasty')
  expect(row).toMatchObject({ calls: 2, output_tokens: 0 })
  expect(row?.guessed_input_tokens).toBeGreaterThan(0)
  expect(row?.guessed_input_tokens).toBe(row?.input_tokens)
  expect(row?.cost_usd).toBeGreaterThan(0)
})

test('is the same at the operator port, and each settled request says its own cost', async () => {
  const { scheduler, client } = house
  const url = `${scheduler.httpUrl}/api/usage?by=tenant,model`
  const seen = (await (await fetch(url)).json()) as UsageReport
  expect(seen.rows).toEqual((await report(['tenant', 'model'])).rows)
  expect((await fetch(`${scheduler.httpUrl}/api/usage?from=2026-13-01`)).status).toBe(400)
  const listener = scheduler.recording.listen({ queueMax: 100 })
  await client.request(of('acme', 'claude-opus-5', { simulated_output_tokens: 10 }))
  await client.request(of('acme', MODELS[2]!))
  await house.rest()
  const settled = []
  while (settled.length < 2)
    for (const { event } of (await listener.next())?.events ?? [])
      if (event.name === 'request.settled') settled.push(event.data)
  listener.close()
  const [dear, unknown] = settled
  expect(dear?.cost_usd).toBeCloseTo((dear!.input_tokens! * 5 + 10 * 25) / 1e6, 9)
  expect(unknown).toMatchObject({ cost_usd: null, unpriced: true })
})

test('is of the whole fleet, and of former lives', async () => {
  const before = (await report([])).rows[0]!.calls
  const second = await house.another()
  for (let i = 0; i < 12; i++) await house.client.request(of('acme', 'claude-opus-5'))
  await house.rest()
  await house.rest(second)
  const stopped = second.stop()
  second.hurry()
  await stopped
  expect((await report([])).rows[0]!.calls).toBe(before + 12)
})

test('of a batch of the provider is half of it', async () => {
  const [model = ''] = MODELS
  const own = await openHouse({
    jobs: true,
    provider: { batchMs: 300 },
    yaml: `
routes: [{ model: ${model}, batches: true }]
jobs: { batches: { wait: 0, gather: 1, poll_max: 1 } }
`,
  })
  // No slot takes anything: what waits, waits for a batch.
  await own.scheduler.operator.lane({ lane: 'batch', paused: true })
  const ids = ['one', 'two', 'three']
  for (const id of ids) await own.client.submit(of('acme', model, CACHES), { id, lane: 'batch' })
  for (const id of ids) await own.client.result(id, { waitMs: 20_000 })
  const { rows } = (await own.client.admin('usage', { by: ['model', 'lane'] })) as UsageReport
  const { entries } = own.provider.ledger()
  const output = entries.reduce((sum, { billed }) => sum + billed.output, 0)
  expect(entries.every(({ batch }) => batch !== null)).toBe(true)
  expect(rows).toMatchObject([
    { model, lane: 'batch', calls: 3, input_tokens: 3 * 35, output_tokens: output },
  ])
  const whole = 3 * (35 * 3 + 7 * 3.75 + 5 * 6 + 3 * 0.3) + output * 15
  expect(rows[0]?.cost_usd).toBeCloseTo(whole / 2 / 1e6, 9)
  await own.close()
}, 60_000)
