/** One of everything that a caller and an operator may ask, and of all that may come of it, as it crossed the
 *  bus. */
import { subjects } from '#contracts/subjects'
import type { Act } from '../support/scripted-provider.ts'
import { answered, openRecordedHouse, type RecordedHouse } from './recorded-house.ts'

export const LLM = subjects('llm')
const INTERACTIVE = LLM.request('acme', 'interactive')

export const call = (more: object = {}) => ({
  model: 'claude-x',
  max_tokens: 10,
  messages: [{ role: 'user', content: 'hello' }],
  ...more,
})

/** The one body that is wrong on purpose. */
export const NOT_JSON = '{'

export async function openWithEverything(): Promise<RecordedHouse> {
  const house = await openRecordedHouse({ yaml: YAML, acts: { ...hogs, ...holders, ...acts } })
  await contention(house)
  await requests(house)
  await jobs(house)
  await questions(house)
  await storm(house)
  await administration(house)
  return house
}

const YAML = `
llm_gateway:
  { max_inflight_global: 60, max_inflight_per_tenant: 60, circuit_breaker: { min_samples: 4 } }
lanes: { batch: { cap: 60 } }
guardrails: { min_samples: 1, window_seconds: 10 }
tenants: { thrifty: { limits: { budget: { day: { tokens: 10 } } } } }
upstreams: { default: {}, stopped: {} }
routes:
  - { model: claude-x }
  - { model: claude-sick }
  - { model: claude-big, upstream: stopped, fallback: [claude-x] }
`

const many = (count: number, name: string, each: readonly Act[]): Record<string, readonly Act[]> =>
  Object.fromEntries(Array.from({ length: count }, (_, i) => [`${name}${i}`, each]))

const long: Act = { firstByteMs: 260, endMs: 20_000, ...answered }
const overloaded: Act = { end: { kind: 'overloaded', status: 529, errorType: 'overloaded_error' } }
const hogs = many(56, 'hog', [long])
const holders = many(4, 'holder', [long])
const sick = many(8, 'sick', Array<Act>(5).fill(overloaded))

/** What the provider does, by the id of the request. */
const acts: Record<string, readonly Act[]> = {
  ...sick,
  slow: [{ firstByteMs: 12_000, ...answered }],
  broken: [{ events: ['{"type":"message_start"}'], end: { kind: 'cut', status: 200 } }],
  refused: [
    {
      end: {
        kind: 'rejected',
        status: 400,
        errorType: 'invalid_request_error',
        alarm: true,
        body: Buffer.from(
          '{"type":"error","error":{"type":"invalid_request_error","message":"no","more":1}}',
        ),
      },
    },
  ],
  retried: [overloaded],
  throttled: [{ end: { kind: 'throttled', status: 429, retryAfterMs: 100 } }],
  hangs: [{ firstByteMs: Infinity }],
  'given-up': Array<Act>(5).fill(overloaded),
  falls: [{ end: { kind: 'key_stop', status: 402, errorType: 'billing_error' } }],
}

const id = (name: string): Record<string, string> => ({ 'Headgate-Id': name })

/** Batch holds nearly every slot, and someone more urgent waits: one attempt is preempted. */
async function contention(house: RecordedHouse): Promise<void> {
  const large = call({ max_tokens: 1_000 })
  const corp = LLM.request('corp', 'interactive')
  for (const hog of Object.keys(hogs)) await house.ask(LLM.request('acme', 'batch'), large, id(hog))
  for (const holder of Object.keys(holders)) await house.ask(corp, call(), id(holder))
  await house.ask(corp, call())
  await house.pass(60_000)
}

async function requests(house: RecordedHouse): Promise<void> {
  await house.ask(INTERACTIVE, call(), {
    'Headgate-Deadline-Ms': '60000',
    'Headgate-Degrade': 'fallback, cache',
    traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
    tracestate: 'vendor=1',
  })
  await house.ask(INTERACTIVE, call({ stream: true }), id('slow'))
  await house.ask(LLM.status('acme', 'slow'))
  await house.ask(LLM.admin('status'), { tenant: 'acme', id: 'slow' })
  await house.pass(15_000)
  await house.ask(INTERACTIVE, call({ stream: true }), id('broken'))
  for (const name of ['refused', 'retried', 'throttled'])
    await house.ask(INTERACTIVE, call(), id(name))
  const falls = { ...id('falls'), 'Headgate-Degrade': 'fallback' }
  await house.ask(INTERACTIVE, call({ model: 'claude-big' }), falls)
  await house.pass(15_000)
  await house.ask(LLM.request('acme', 'nowhere'), call())
  await house.ask(LLM.request('thrifty', 'interactive'), call())
  await house.ask(INTERACTIVE, NOT_JSON)
  house.tell(INTERACTIVE, call())
}

/** A job that is done, one that is not, and one that is refused. */
async function jobs(house: RecordedHouse): Promise<void> {
  const submit = LLM.submit('acme', 'batch')
  await house.ask(submit, call(), { ...id('done'), 'Headgate-Batch': 'night' })
  await house.pass(1_000)
  await house.ask(LLM.fetch('acme', 'done'))
  await house.ask(submit, call(), { ...id('later'), 'Headgate-Not-Before-Ms': '60000' })
  await house.ask(LLM.fetch('acme', 'later'), '', { 'Headgate-Wait-Ms': '10' })
  await house.ask(LLM.status('acme', 'later'))
  await house.ask(LLM.admin('jobs'))
  await house.ask(LLM.admin('jobs'), { state: 'delayed', tenant: 'acme', count: 1 })
  await house.ask(LLM.cancel('acme', 'later'))
  await house.ask(submit, NOT_JSON)
  await house.ask(LLM.submit('acme', 'interactive'), call(), id('given-up'))
  await leftByTheDead(house)
  await house.pass(30_000)
}

/** A job whose owner was calling when it was last heard. */
async function leftByTheDead({ store, tell }: RecordedHouse): Promise<void> {
  const job = {
    ...{ tenant: 'acme', lane: 'batch', id: 'left', group: '_', hash: 'h' },
    ...{ acceptedAt: Date.parse('2026-01-01T00:00:00Z'), deadlineMs: 86_400_000, notBeforeMs: 0 },
    ...{ degrade: [], maxAttempts: null, headers: {} },
  }
  await store.noteFlow(job)
  await store.add(job, Buffer.from(JSON.stringify(call())))
  await store.claim(job, { by: 'dead', claims: 1, attempts: 1, calling: true, ambiguous: 0 }, 0)
  tell(LLM.peerJob, { by: 'dead', lane: job.lane, tenant: job.tenant })
}

/** Refused as it drains, a job goes back. */
async function returned(house: RecordedHouse): Promise<void> {
  await house.ask(LLM.admin('lane'), { lane: 'batch', paused: true })
  await house.ask(LLM.submit('acme', 'batch'), call(), id('rests'))
  await house.pass(1_000)
}

async function questions(house: RecordedHouse): Promise<void> {
  await house.ask(INTERACTIVE, call(), id('hangs'))
  await house.ask(LLM.cancel('acme', 'hangs'))
  await house.ask(LLM.cancel('acme', 'nobody'))
  await house.ask(LLM.status('acme', 'nobody'))
  await house.ask(LLM.fetch('acme', 'nobody'), '', { 'Headgate-Wait-Ms': '10' })
  await house.ask(LLM.aux('count_tokens', 'acme'), call())
  await house.ask(LLM.aux('models', 'acme'))
  for (const tail of ['', '.headgate', `.headgate.${house.wired.instance}`])
    for (const verb of ['PING', 'INFO', 'STATS']) await house.ask(`$SRV.${verb}${tail}`)
  await house.pass(1_000)
}

/** The limit shrinks, the breaker opens, the guardrails are breached. */
async function storm(house: RecordedHouse): Promise<void> {
  for (const name of Object.keys(sick))
    await house.ask(INTERACTIVE, call({ model: 'claude-sick' }), id(name))
  await house.pass(60_000)
}

async function administration(house: RecordedHouse): Promise<void> {
  await house.ask(LLM.admin('snapshot'))
  await house.ask(LLM.admin('config'))
  await house.ask(LLM.admin('config'), { yaml: YAML })
  await house.ask(LLM.admin('emergency'), { on: true })
  await house.ask(LLM.admin('emergency'), { on: false })
  await house.ask(LLM.admin('lane'), { lane: 'batch', paused: true })
  await house.ask(LLM.admin('lane'), { lane: 'nowhere', paused: true })
  await house.ask(LLM.admin('upstream'), { upstream: 'default' })
  const one = { tenant: 'acme', id: 'nobody' }
  await house.ask(LLM.admin('status'), one)
  await house.ask(LLM.admin('cancel'), one)
  await returned(house)
  await house.ask(LLM.admin('jobs'), { act: 'drop', ...one })
  await house.ask(LLM.admin('jobs'), { act: 'requeue', ...one })
  await house.ask(LLM.admin('jobs'), { act: 'requeue' })
  await house.ask(LLM.admin('budgets'), {})
  await house.ask(LLM.admin('budgets'), {
    tenant: 'thrifty',
    add: { span: 'day', unit: 'tokens', amount: 5 },
  })
  await house.ask(LLM.admin('usage'), { by: ['tenant', 'model', 'lane', 'day'] })
  await house.ask(LLM.admin('drain'))
  await house.pass(1_000)
  await house.ask(INTERACTIVE, call())
}
