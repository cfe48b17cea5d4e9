/** The Anthropic-compatible HTTP door as an OpenAPI 3.1 document. Errors come from `refusals`: a new code stands
 *  here by itself. */
import { component, components, CONTRACT_VERSION, type Json } from './json-schemas.ts'
import { errorBody, HEADER, refusal, SCHEDULING_HEADERS } from '#contracts/messages'
import { refusals, type RefusalCode } from '#contracts/refusals'

/** Said of an id that is asked about over NATS; no path of the door names one. */
const NOT_AT_THE_DOOR: readonly RefusalCode[] = ['unknown_id', 'pending']

/** Of calls outside lanes and slots. */
const AUX_CODES: readonly RefusalCode[] = [
  'invalid_request',
  'unauthenticated',
  'forbidden',
  'payload_too_large',
  'queue_full',
  'draining',
  'upstream_error',
]

export const doorCodes = (Object.keys(refusals) as RefusalCode[]).filter(
  (code) => !NOT_AT_THE_DOOR.includes(code),
)

export function openapi(): Json {
  return {
    openapi: '3.1.0',
    info: {
      title: "Headgate's Anthropic-compatible door",
      version: CONTRACT_VERSION,
      description: INFO,
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [
      { url: 'http://127.0.0.1:8781', description: 'As it is when nothing is configured.' },
    ],
    security: [{ apiKey: [] }, { bearer: [] }],
    paths: paths(),
    components: {
      securitySchemes: {
        apiKey: { type: 'apiKey', in: 'header', name: 'x-api-key', description: KEY },
        bearer: { type: 'http', scheme: 'bearer', description: KEY },
      },
      parameters: parameters(),
      responses: {
        ...named('message', MESSAGE_REFUSALS),
        ...named('aux', AUX_REFUSALS),
      },
      headers: headers(),
      schemas: {
        ...components(['request-body', 'error-body'], 'draft-2020-12'),
        'refusal-code': {
          ...component('refusal-code', 'draft-2020-12'),
          'x-headgate-refusals': refusals,
        },
        upstream: {
          title: 'Upstream',
          type: 'object',
          description:
            'JSON of the upstream, or for it, unchanged: its own documents say what is in it.',
        },
      },
    },
  }
}

function paths(): Json {
  return {
    '/v1/messages': {
      post: {
        operationId: 'createMessage',
        summary: 'One Messages call, scheduled.',
        parameters: [...ref('parameters', SCHEDULING), ...ref('parameters', PASSED_ON)],
        requestBody: bodyOf({ $ref: '#/components/schemas/request-body' }),
        responses: {
          200: {
            description:
              'The upstream\'s own answer, byte for byte; with `"stream": true` its events as they come. The status line is sent with the first real event, so that a late refusal still has its status. Of a stream, the headers say what is known by then.',
            headers: headerRefs(ACCOUNTING),
            content: {
              'application/json': { schema: { $ref: '#/components/schemas/upstream' } },
              'text/event-stream': { schema: { type: 'string' } },
            },
          },
          ...responseRefs('message', MESSAGE_REFUSALS),
        },
      },
    },
    '/v1/messages/count_tokens': {
      post: {
        operationId: 'countTokens',
        summary: "The upstream's own count, outside lanes and slots.",
        parameters: ref('parameters', PASSED_ON),
        requestBody: bodyOf({ $ref: '#/components/schemas/upstream' }),
        responses: { 200: upstreamAnswer, ...responseRefs('aux', AUX_REFUSALS) },
      },
    },
    '/v1/models': {
      get: {
        operationId: 'listModels',
        summary: "The upstream's own list, outside lanes and slots.",
        parameters: [...ref('parameters', PASSED_ON), ...pageParameters()],
        responses: { 200: upstreamAnswer, ...responseRefs('aux', AUX_REFUSALS) },
      },
    },
    '/v1/models/{id}': {
      get: {
        operationId: 'getModel',
        summary: "The upstream's own word on one model, outside lanes and slots.",
        parameters: [
          ...ref('parameters', PASSED_ON),
          { name: 'id', in: 'path', required: true, schema: askProperty('id') },
        ],
        responses: { 200: upstreamAnswer, ...responseRefs('aux', AUX_REFUSALS) },
      },
    },
  }
}

const INFO = `What an unmodified Anthropic SDK speaks. The key says who is served, \`headgate-lane\` how urgent it is; the request headers of the NATS contract are HTTP headers here. Errors have the API's own status and body, with one more key, \`headgate\`.

The SDKs retry by themselves: \`x-should-retry: false\` goes out with every code that is not retryable and with \`retries_exhausted\`, or the layers multiply.`

const KEY =
  'The key of a tenant. With no key configured the door serves a loopback address only, any key, as tenant `default`.'

// ---- what is asked ----

const LANE = 'headgate-lane'
const SCHEDULING = [...SCHEDULING_HEADERS.map(lower), LANE]
const PASSED_ON = [HEADER.version, HEADER.beta, HEADER.traceparent, HEADER.tracestate].map(lower)

function lower(name: string): string {
  return name.toLowerCase()
}

function parameters(): Json {
  const block = propertiesOf('request-headers')
  const given = Object.entries(block).map(([name, { description, ...schema }]) => [
    lower(name),
    { name: lower(name), in: 'header', description, schema },
  ])
  const pattern = block[HEADER.id]?.['pattern']
  const lane = {
    name: LANE,
    in: 'header',
    description: 'A class of urgency; an unknown one is refused.',
    schema: { type: 'string', pattern, default: 'interactive' },
  }
  return { ...Object.fromEntries(given), [LANE]: lane }
}

/** What a page of the list is asked by. */
const pageParameters = (): Json[] =>
  ['after_id', 'before_id', 'limit'].map((name) => ({
    name,
    in: 'query',
    schema: askProperty(name),
  }))

const askProperty = (name: string): unknown => propertiesOf('models-ask')[name]

const propertiesOf = (shape: string): Record<string, Json> =>
  component(shape, 'draft-2020-12')['properties'] as Record<string, Json>

const bodyOf = (schema: Json): Json => ({
  required: true,
  content: { 'application/json': { schema } },
})

// ---- what is answered ----

const REQUEST_ID = lower(HEADER.requestId)
const ACCOUNTING = Object.keys(propertiesOf('accounting-headers')).map(lower)

function headers(): Json {
  const accounting = Object.entries(propertiesOf('accounting-headers'))
  return {
    ...Object.fromEntries(
      accounting.map(([name, { description, ...schema }]) => [
        lower(name),
        { description, schema },
      ]),
    ),
    [REQUEST_ID]: {
      description: "The upstream's id, else the `headgate-id`.",
      schema: { type: 'string' },
    },
    'retry-after': {
      description: 'Seconds; where the same again, later, may succeed.',
      schema: { type: 'integer', minimum: 0 },
    },
    'x-should-retry': {
      description: 'False: an SDK must not try again by itself. Absent: it may.',
      schema: { type: 'string', const: 'false' },
    },
  }
}

const upstreamAnswer: Json = {
  description: "The upstream's own answer.",
  headers: headerRefs([REQUEST_ID]),
  content: { 'application/json': { schema: { $ref: '#/components/schemas/upstream' } } },
}

/** One response for each status that the codes have, and a default for the upstream's own. */
function refusalsAs(codes: readonly RefusalCode[], always: readonly string[]): Json {
  const statuses = new Map<string, RefusalCode[]>()
  for (const code of codes) {
    const status = String(refusals[code].http ?? 'default')
    statuses.set(status, [...(statuses.get(status) ?? []), code])
  }
  return Object.fromEntries([...statuses].map(([status, own]) => [status, refusalsOf(own, always)]))
}

function refusalsOf(codes: readonly RefusalCode[], always: readonly string[]): Json {
  const upstreams = codes.some((code) => refusals[code].http === null)
  const final = codes.some((code) => !asksAgain(code))
  const retryable = codes.some((code) => refusals[code].retryable)
  const said = codes.map((code) => `\`${code}\`: ${refusals[code].means}`).join('; ')
  return {
    description: upstreams ? `The upstream's status. ${said}` : said,
    headers: headerRefs([
      ...always,
      ...(retryable ? ['retry-after'] : []),
      ...(final ? ['x-should-retry'] : []),
    ]),
    content: {
      'application/json': {
        schema: { $ref: '#/components/schemas/error-body' },
        examples: Object.fromEntries(codes.map((code) => [code, { value: example(code) }])),
      },
    },
  }
}

const MESSAGE_REFUSALS = refusalsAs(doorCodes, ACCOUNTING)
const AUX_REFUSALS = refusalsAs(AUX_CODES, [REQUEST_ID])

const named = (prefix: string, responses: Json): Json =>
  Object.fromEntries(
    Object.entries(responses).map(([status, response]) => [`${prefix}-${status}`, response]),
  )

const responseRefs = (prefix: string, responses: Json): Json =>
  Object.fromEntries(
    Object.keys(responses).map((status) => [
      status,
      { $ref: `#/components/responses/${prefix}-${status}` },
    ]),
  )

/** Whether an SDK may try again by itself. */
function asksAgain(code: RefusalCode): boolean {
  return refusals[code].retryable && code !== 'retries_exhausted'
}

function example(code: RefusalCode): unknown {
  const attempts = refusals[code].http === null ? 1 : 0
  const said = refusal(code, refusals[code].means)
  return JSON.parse(errorBody({ refusal: said, requestId: 'r_1', attempts }))
}

const ref = (kind: string, names: readonly string[]): Json[] =>
  names.map((name) => ({ $ref: `#/components/${kind}/${name}` }))

function headerRefs(names: readonly string[]): Json {
  return Object.fromEntries(
    [...new Set(names)].map((name) => [name, { $ref: `#/components/headers/${name}` }]),
  )
}
