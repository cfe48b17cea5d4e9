/** What really crosses the bus and the operator's port, held against the documents that describe it. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { eventNames, schemaFile } from '#contracts/documents/json-schemas'
import { openapiOperator } from '#contracts/documents/openapi-operator'
import { ADMIN_OPS } from '#contracts/subjects'
import { at, placeIn, schemaCheck, step, type Check } from './checks.ts'
import { call, LLM, NOT_JSON, openWithEverything } from './everything.ts'
import { openRecordedHouse, TOKEN, type RecordedHouse, type Sent } from './recorded-house.ts'
import { candidates, fitting, messageNames, parsed, wrongAs } from './wire-document.ts'

describe('over the bus', () => {
  let house: RecordedHouse
  beforeAll(async () => {
    house = await openWithEverything()
  })
  afterAll(() => house.close())

  const sampleOf = (name: string): Sent => {
    const found = house.sent.find((one) => fitting(one, house.sent).includes(name))
    if (found === undefined) throw new Error(`no sample of ${name}`)
    return found
  }

  test('every message fits one message of the document, and one only', () => {
    const { sent } = house
    const wrong = sent
      .filter((one) => fitting(one, sent).length !== (one.body === NOT_JSON ? 0 : 1))
      .map((one) => ({ ...one, why: candidates(one, sent).map((name) => wrongAs(name, one)) }))
    expect(wrong).toEqual([])
    expect(sent.filter((one) => one.body === NOT_JSON).length).toBe(2)
  })

  test('every message of the document was said', () => {
    const said = new Set(house.sent.flatMap((one) => fitting(one, house.sent)))
    expect(messageNames.filter((name) => !said.has(name))).toEqual([])
  })

  test('every event fits its schema, and every kind of event happened', () => {
    const recorded = house.wired.recording.recent().map(({ event }) => event)
    const checks = new Map<string, Check>(
      eventNames.map((name) => [name, schemaCheck(schemaFile(`event.${name}`))]),
    )
    const wrong = recorded
      .map(({ name, data }) => ({ name, why: checks.get(name)?.(data) }))
      .filter(({ why }) => why !== null)
    expect(wrong).toEqual([])
    const happened = new Set(recorded.map(({ name }) => name))
    expect(eventNames.filter((name) => !happened.has(name))).toEqual([])
  })

  test.each([
    ['answer', 'Headgate-Outcome'],
    ['streamEnd', 'Headgate-Events'],
    ['error', 'Nats-Service-Error-Code'],
    ['event.request.settled', 'ce-type'],
    ['event.breaker', 'ce-id'],
  ])('a message %s without its header %s does not fit', (name, header) => {
    const sample = sampleOf(name)
    const { [header]: _, ...headers } = sample.headers
    expect(wrongAs(name, { ...sample, headers })).toContain(header)
  })

  test('a message with a word that the contract does not know does not fit', () => {
    const answer = sampleOf('answer')
    const headers = { ...answer.headers, 'Headgate-Outcome': 'done' }
    expect(wrongAs('answer', { ...answer, headers })).toContain('Headgate-Outcome')
    const settled = sampleOf('event.request.settled')
    const body = JSON.stringify({ ...JSON.parse(settled.body), outcome: 'done' })
    expect(wrongAs('event.request.settled', { ...settled, body })).toContain('outcome')
    const status = { ...sampleOf('statusAnswer'), body: '{"id":"slow"}' }
    expect(wrongAs('statusAnswer', status)).toContain('tenant')
  })

  test('an error that is retryable against its code, or says when without being so, does not fit', () => {
    const error = sampleOf('error')
    const body = JSON.parse(error.body) as object
    const wrong = (headgate: object): string | null =>
      wrongAs('error', { ...error, body: JSON.stringify({ ...body, headgate }) })
    const full = { code: 'queue_full', retryable: true, retry_after_ms: 4_000, attempts: 0 }
    expect(wrong(full)).toBeNull()
    expect(wrong({ ...full, code: 'full' })).not.toBeNull()
    expect(wrong({ ...full, retry_after_ms: null })).not.toBeNull()
    expect(wrong({ ...full, retryable: false, retry_after_ms: null })).not.toBeNull()
    const lane = { code: 'unknown_lane', retryable: false, retry_after_ms: null, attempts: 0 }
    expect(wrong(lane)).toBeNull()
    expect(wrong({ ...lane, retry_after_ms: 1 })).not.toBeNull()
  })
})

describe("on the operator's port", () => {
  let house: RecordedHouse
  afterEach(() => house.close())

  test('every answer is one that the document names for its path and status', async () => {
    house = await openRecordedHouse({ http: true })
    const checkOf = operatorAnswers()
    const seen: string[] = []
    const hold = async (method: string, path: string, init: RequestInit = {}): Promise<void> => {
      const response = await fetch(`${house.wired.httpUrl}${path}`, { method, ...init })
      const { status } = response
      const type = response.headers.get('content-type')?.split(';')[0] ?? ''
      const check = checkOf({ method, path, status, type })
      seen.push(`${method} ${path} ${status}`)
      expect(check(parsed(await response.text())), `${method} ${path} ${status}`).toBeNull()
    }
    const act = (op: string, body: string, more: Record<string, string> = {}): Promise<void> => {
      const headers = { authorization: `Bearer ${TOKEN}`, ...more }
      return hold('POST', `/api/admin/${op}`, { headers, body })
    }
    for (const path of ['/healthz', '/readyz', '/metrics', '/api/snapshot']) await hold('GET', path)
    await act('emergency', '{"on":true}', { authorization: '' })
    await act('emergency', '{"on":"yes"}')
    await act('emergency', '{"on":true}', { origin: 'http://elsewhere.test' })
    await act('emergency', '{"on":true}')
    await act('lane', '{"lane":"batch","paused":true}')
    await act('upstream', '{"upstream":"default"}')
    await act('status', '{"tenant":"acme","id":"nobody"}')
    await act('cancel', '{"tenant":"acme","id":"nobody"}')
    await act('jobs', '')
    await act('jobs', '{"act":"drop","tenant":"acme","id":"nobody"}')
    await act('jobs', '{"act":"requeue"}')
    await act('budgets', '')
    await act('budgets', '{"add":{}}')
    await act('usage', '{"by":["tenant","day"]}')
    await act('usage', '{"from":"yesterday"}')
    await hold('GET', '/api/usage?by=tenant,model,lane,day')
    await hold('GET', '/api/usage?by=moon')
    await hold('GET', '/api/budgets')
    await hold('GET', '/api/budgets?tenant=acme')
    await hold('GET', '/api/budgets?add=5')
    await act('config', '')
    await act('config', 'drain_ms: 5000')
    await act('config', ' '.repeat(1_000_001))
    await act('snapshot', '')
    await act('drain', '')
    await hold('GET', '/readyz')
    // Of a request that nobody knows; one that is known is asked for over the bus.
    for (const op of ADMIN_OPS)
      expect(seen).toContain(`POST /api/admin/${op} ${op === 'status' ? 404 : 200}`)
    for (const status of [400, 401, 403])
      expect(seen).toContain(`POST /api/admin/emergency ${status}`)
    expect(seen).toContain('POST /api/admin/config 413')
    expect(seen).toContain('GET /readyz 503')
  })

  test('what the event stream says fits the recorded event of the document', async () => {
    house = await openRecordedHouse({ http: true })
    await house.ask(LLM.request('acme', 'interactive'), call())
    await house.pass(100)
    const leaving = new AbortController()
    const response = await fetch(`${house.wired.httpUrl}/api/events`, { signal: leaving.signal })
    const data = await dataUntil(response, /"name":"request.settled"/)
    leaving.abort()
    const check = placeIn(openapiOperator(), '2020-12')('#/components/schemas/recorded-event')
    expect(data.length).toBeGreaterThan(2)
    for (const line of data) expect(check(JSON.parse(line)), line).toBeNull()
    expect(check({ ...JSON.parse(data[0] ?? ''), name: 'request.forgotten' })).not.toBeNull()
  })
})

/** The check of an answer; throws where the document names none. */
function operatorAnswers(): (of: {
  method: string
  path: string
  status: number
  type: string
}) => Check {
  const operator = openapiOperator()
  const placed = placeIn(operator, '2020-12')
  return ({ method, path, status, type }) => {
    const [bare = ''] = path.split('?')
    const where = ['paths', bare, method.toLowerCase(), 'responses', String(status)]
    const pointer = ['#', ...[...where, 'content', type, 'schema'].map(step)].join('/')
    if (at(operator, pointer) === undefined) throw new Error(`the document has no ${pointer}`)
    return placed(pointer)
  }
}

/** The `data:` lines of a stream, up to and with the first that fits. */
async function dataUntil(response: Response, last: RegExp): Promise<string[]> {
  const lines: string[] = []
  const decoder = new TextDecoder()
  let rest = ''
  for await (const part of response.body as unknown as AsyncIterable<Uint8Array>) {
    const all = (rest + decoder.decode(part, { stream: true })).split('\n')
    rest = all.pop() ?? ''
    lines.push(...all.filter((line) => line.startsWith('data: ')).map((line) => line.slice(6)))
    if (lines.some((line) => last.test(line))) break
  }
  return lines
}
