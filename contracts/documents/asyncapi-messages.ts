/** The messages of the AsyncAPI document and their schemas. Every message that a caller can hear fits one of
 *  those that its operation names, and one only. */
import { ceType, type EventName } from '#contracts/events'
import {
  adminAnswerShape,
  components,
  eventNames,
  eventRows,
  shapes,
  type Json,
} from './json-schemas.ts'
import { errorBody, HEADER, refusal } from '#contracts/messages'
import { refusals } from '#contracts/refusals'
import { ADMIN_OPS, type AdminOp } from '#contracts/subjects'

export const eventMessage = (name: EventName): string => `event.${name}`

/** `components.messages`. */
export const messages = (): Json => ({
  ...asked(),
  ...answered(),
  ...administration(),
  ...events(),
})

/** What callers say. */
function asked(): Json {
  return {
    request: {
      summary: 'A Messages call.',
      headers: schema('request-headers'),
      payload: schema('request-body'),
      examples: [{ name: 'plain', headers: { [HEADER.id]: 'r_1' }, payload: ASKED }],
    },
    job: {
      summary: 'A Messages call that may wait, and survives a crash.',
      headers: schema('job-headers'),
      payload: schema('request-body'),
      examples: [{ name: 'plain', headers: { [HEADER.id]: 'j_1' }, payload: ASKED }],
    },
    question: { summary: 'No body is read.' },
    auxQuestion: {
      summary: 'A page of the list, or one model (models-ask); no body: the first page.',
      headers: schema('aux-request-headers'),
    },
    fetch: { summary: 'No body is read.', headers: schema('fetch-headers') },
    status: { summary: 'No body is read.', headers: schema('status-headers') },
    auxRequest: {
      summary: 'What the upstream takes.',
      headers: schema('aux-request-headers'),
      payload: schema('upstream'),
    },
  }
}

/** What they hear. */
function answered(): Json {
  return {
    jobReceipt: { summary: 'The job is stored.', ...bare, payload: schema('job-receipt') },
    answer: {
      summary: 'The whole answer.',
      headers: noError('accounting-headers'),
      payload: schema('upstream'),
    },
    streamEvent: { summary: "One event's data.", ...bare, payload: schema('stream-event') },
    ping: { summary: 'Still waiting, or between events.', ...bare, payload: schema('ping') },
    streamEnd: {
      summary: 'The end of a stream, after its last event or its error.',
      contentType: 'text/plain',
      headers: schema('stream-end-headers'),
      payload: schema('nothing'),
    },
    error: {
      summary: 'A no, with a code; of a stream, the empty end follows.',
      headers: schema('error-headers'),
      payload: schema('error-body'),
      examples: [{ name: 'queue_full', payload: REFUSED }],
    },
    cancelAnswer: {
      summary: 'Whether it was cancelled.',
      ...bare,
      payload: schema('cancel-answer'),
    },
    statusAnswer: {
      summary: 'Where it stands.',
      headers: schema('status-answer-headers'),
      payload: schema('status-answer'),
    },
    auxAnswer: {
      summary: "The upstream's own answer.",
      headers: noError('aux-headers'),
      payload: schema('upstream'),
    },
    serviceAnswer: { summary: 'Who is there.', ...bare, payload: schema('service-answer') },
  }
}

const administration = (): Json =>
  Object.fromEntries(
    ADMIN_OPS.flatMap((op) => [
      [`admin.${op}`, { summary: shapes[`admin.${op}`]?.says, payload: adminBody(op) }],
      [
        `admin.${op}.answer`,
        { summary: `The answer to ${op}.`, ...bare, payload: schema(adminAnswerShape(op)) },
      ],
    ]),
  )

const events = (): Json =>
  Object.fromEntries(
    eventNames
      .filter((name) => eventRows[name].on !== null)
      .map((name) => [
        eventMessage(name),
        {
          summary: eventRows[name].says,
          headers: eventHeaders(name),
          payload: schema(`event.${name}`),
        },
      ]),
  )

const schema = (name: string): Json => ({ $ref: `#/components/schemas/${name}` })
const bare = { headers: schema('no-headers') }

/** So that every answer fits one of its messages, and one only. */
const noError = (name: string): Json => ({
  allOf: [schema(name), { not: { required: [HEADER.errorCode] } }],
})

const eventHeaders = (name: EventName): Json => ({
  allOf: [schema('event-headers'), { properties: { 'ce-type': { const: ceType(name) } } }],
})

function adminBody(op: AdminOp): Json {
  const own = schema(`admin.${op}`)
  const also = ALSO[op] ?? []
  return also.length === 0 ? own : { anyOf: [own, ...also.map(schema)] }
}

/** What an operator may send instead of an object. */
const ALSO: Readonly<Partial<Record<AdminOp, readonly string[]>>> = {
  snapshot: ['nothing'],
  jobs: ['nothing'],
  config: ['yaml', 'nothing'],
  drain: ['nothing'],
}

const ASKED = {
  model: 'claude-sonnet-4-5',
  max_tokens: 64,
  messages: [{ role: 'user', content: 'Hello' }],
}

const REFUSED: unknown = JSON.parse(
  errorBody({
    refusal: refusal('queue_full', 'lane batch is full (20000 queued); retry in 4 s', {
      retryAfterMs: 4_000,
    }),
    requestId: 'r_1',
    attempts: 0,
  }),
)

// ---- schemas ----

/** `components.schemas`: every public shape but the file, and what stands on the wire alone. */
export function schemas(): Json {
  const names = Object.keys(shapes).filter((name) => name !== 'config-file')
  const named = components(names, 'draft-07')
  return {
    ...named,
    'refusal-code': { ...(named['refusal-code'] as Json), 'x-headgate-refusals': refusals },
    ping: typed('Ping', { const: 'ping' }),
    'stream-event': typed('StreamEvent', { not: { const: 'ping' } }),
    nothing: { title: 'Nothing', type: 'string', maxLength: 0 },
    yaml: { title: 'Yaml', type: 'string', description: 'headgate.yaml as text.' },
    'no-headers': { title: 'NoHeaders', type: 'object', maxProperties: 0 },
    upstream: {
      title: 'Upstream',
      type: 'object',
      description: "The upstream's JSON bytes, unchanged: the Messages API says what is in them.",
    },
  }
}

/** Data of a streamed event, which always names its type. */
const typed = (title: string, type: Json): Json => ({
  title,
  type: 'object',
  properties: { type: { type: 'string', ...type } },
  required: ['type'],
})
