/** Traces over real NATS, real HTTP and real processes: a caller's trace goes on in the scheduler. */
import { spawn, type ChildProcess } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterEach, expect, test } from 'vitest'
import { body, endOf, openHouse, type House } from '../support/house.ts'
import type { SpanLine } from '../support/spans-to-file.ts'
import { spans, type Spans } from '../support/spans.ts'
import { inRoot } from '../support/tree.ts'

const CALLER = { traceId: '0af7651916cd43dd8448eb211c80319c', spanId: 'b7ad6b7169203331' }
const traceparent = `00-${CALLER.traceId}-${CALLER.spanId}-01`
const headers = { traceparent, tracestate: 'vendor=1' }

let house: House
let sdk: Spans | null = null
const children: ChildProcess[] = []

afterEach(async () => {
  for (const child of children.splice(0)) child.kill('SIGKILL')
  sdk?.close()
  sdk = null
  await house.close()
})

test("a caller's trace goes on: one span for its request, one for each attempt, and nothing of its text", async () => {
  sdk = spans()
  house = await openHouse()
  const { client, provider } = house
  provider.fault({ kind: 'status', status: 529, times: 1 })
  const answer = await client.request(body(), { id: 'retried', headers })
  await client.stream(body(), { id: 'streamed', lane: 'batch', headers }).final
  expect(await endOf(client.request(body(), { id: 'lost', lane: 'nowhere', headers }))).toBe(
    'unknown_lane',
  )
  await client.request(body(), { id: 'alone' })
  await house.rest()

  const all = sdk.ended()
  expect(sdk.running()).toBe(0)
  const of = (id: string) => all.filter((one) => one.attributes['headgate.id'] === id)
  expect(['retried', 'streamed', 'lost', 'alone'].map((id) => of(id).length)).toEqual([3, 2, 1, 2])
  for (const one of [...of('retried'), ...of('streamed'), ...of('lost')])
    expect(one.traceId).toBe(CALLER.traceId)
  for (const one of all.filter(({ kind }) => kind === 'SERVER'))
    expect(one.parent).toBe(one.attributes['headgate.id'] === 'alone' ? null : CALLER.spanId)
  expect(of('alone')[0]!.traceId).not.toBe(CALLER.traceId)

  const [failed, served, request] = of('retried')
  expect(failed).toMatchObject({
    name: 'chat claude-sonnet-4-5',
    error: 'overloaded_error',
    attributes: { 'http.response.status_code': 529 },
  })
  const { input_tokens, output_tokens } = answer.body.usage
  expect(served).toMatchObject({
    parent: request!.spanId,
    error: null,
    attributes: {
      'gen_ai.usage.input_tokens': input_tokens,
      'gen_ai.usage.output_tokens': output_tokens,
    },
  })
  expect(request!.attributes).toMatchObject({ 'headgate.tenant': 'acme', 'headgate.attempts': 2 })
  expect(request!.to - request!.from).toBeGreaterThanOrEqual(served!.to - served!.from)
  expect(of('streamed')[0]!.attributes['gen_ai.response.time_to_first_chunk']).toBeGreaterThan(0)
  expect(JSON.stringify(all)).not.toContain('planted')
  expect(JSON.stringify(sdk.raw().map((one) => one.attributes))).not.toContain('planted')
})

test('what NODE_OPTIONS imports reaches the scheduler that `headgate serve` starts', async () => {
  house = await openHouse()
  // Only the one with the SDK shall answer.
  const { scheduler, nats, provider, client } = house
  await scheduler.stop()
  const dir = mkdtempSync(join(tmpdir(), 'headgate-spans-'))
  try {
    const file = join(dir, 'spans.ndjson')
    const child = spawn(process.execPath, [inRoot('services/cli/headgate.ts'), 'serve'], {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: {
        ...process.env,
        NODE_OPTIONS: `--import=${pathToFileURL(inRoot('test/support/spans-to-file.ts')).href}`,
        SPANS_FILE: file,
        NATS_URL: nats.url,
        ANTHROPIC_BASE_URL: provider.url,
        ANTHROPIC_API_KEY: 'sk-planted-key',
        HEADGATE_HTTP_PORT: '0',
      },
    })
    children.push(child)
    const ended = new Promise<number | null>((resolve) => child.once('exit', resolve))
    await new Promise<void>((ready, reject) => {
      let said = ''
      child.stdout.on('data', (data: Buffer) => {
        said += data.toString()
        if (said.includes('"ready"')) ready()
      })
      void ended.then(() => reject(new Error(`it ended: ${said}`)))
    })
    await client.request(body(), { headers })
    child.kill('SIGTERM')
    expect(await ended).toBe(0)
    const lines = readFileSync(file, 'utf8').trimEnd().split('\n')
    const [attempt, request, ...none] = lines.map((line) => JSON.parse(line) as SpanLine)
    expect(none).toEqual([])
    expect(attempt).toMatchObject({ name: 'chat claude-sonnet-4-5', traceId: CALLER.traceId })
    expect(request).toMatchObject({ traceId: CALLER.traceId, parent: CALLER.spanId })
    expect(request!.pid).not.toBe(child.pid)
    expect(lines.join()).not.toContain('planted')
  } finally {
    rmSync(dir, { recursive: true })
  }
})
