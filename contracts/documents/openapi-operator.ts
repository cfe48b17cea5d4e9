/** The operator's port as an OpenAPI 3.1 document. The dashboard's own paths are not in it: they are made for
 *  its page and change with it. */
import { apiError } from '#contracts/dashboard'
import {
  adminAnswerShape,
  components,
  CONTRACT_VERSION,
  eventNames,
  shapes,
  toJson,
  type Json,
} from './json-schemas.ts'
import { DOORS } from '#contracts/readiness'
import { ADMIN_OPS, type AdminOp } from '#contracts/subjects'
import { USAGE_BY } from '#contracts/usage-report'

export function openapiOperator(): Json {
  return {
    openapi: '3.1.0',
    info: {
      title: "Headgate's operator port",
      version: CONTRACT_VERSION,
      description:
        'Health, metrics, everything true now, everything that happens, and administration. On a loopback address it answers to its own names only.',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [
      { url: 'http://127.0.0.1:8780', description: 'As it is when nothing is configured.' },
    ],
    security: [],
    paths: paths(),
    components: {
      securitySchemes: {
        adminToken: {
          type: 'http',
          scheme: 'bearer',
          description: 'HEADGATE_ADMIN_TOKEN; without one set, every act is refused.',
        },
      },
      schemas: schemas(),
    },
  }
}

function paths(): Json {
  return {
    '/healthz': get('healthz', 'The process is up.', { 200: json('Up.', schema('health')) }),
    '/readyz': { get: readyz() },
    '/metrics': get('metrics', 'Metrics for Prometheus.', {
      200: { description: 'The text format.', content: { 'text/plain': { schema: TEXT } } },
    }),
    '/api/snapshot': get('snapshot', 'Everything true now.', {
      200: json('The snapshot.', schema('snapshot')),
    }),
    '/api/usage': { get: usage() },
    '/api/budgets': { get: budgets() },
    '/api/events': { get: events() },
    ...Object.fromEntries(ADMIN_OPS.map((op) => [`/api/admin/${op}`, { post: act(op) }])),
  }
}

function schemas(): Json {
  return {
    ...components(
      [
        'snapshot',
        ...ADMIN_OPS.map((op) => `admin.${op}`),
        ...ADMIN_OPS.map(adminAnswerShape).filter((name) => name !== 'snapshot'),
        ...eventNames.map((name) => `event.${name}`),
      ],
      'draft-2020-12',
    ),
    'recorded-event': recordedEvent,
    lost: object({ lost: { type: 'integer', minimum: 1 } }),
    health: object({ status: { type: 'string', const: 'ok' } }),
    readiness: object({
      ready: { type: 'boolean' },
      reasons: { type: 'array', items: { type: 'string' } },
      doors: {
        type: 'object',
        additionalProperties: object({
          ready: { type: 'boolean' },
          reasons: { type: 'array', items: { type: 'string' } },
        }),
      },
    }),
    'api-error': toJson(apiError, 'draft-2020-12'),
  }
}

const TEXT = { type: 'string' }
const schema = (name: string): Json => ({ $ref: `#/components/schemas/${name}` })

const get = (operationId: string, summary: string, responses: Json): Json => ({
  get: { operationId, summary, responses },
})

const readyz = (): Json => ({
  operationId: 'readyz',
  summary: 'Whether requests are taken: by one door at least, or by the one that is named.',
  description:
    'A door is `nats`, for programs that publish, or `http`, in a process that serves it. Each has reasons of its own: without NATS the HTTP door beside the scheduler still serves. The port of the HTTP door answers the same, of itself.',
  parameters: [
    {
      name: 'door',
      in: 'query',
      description: 'Only this door; `any`, or nothing: one that serves is enough.',
      schema: { type: 'string', enum: ['any', ...DOORS] },
    },
  ],
  responses: {
    200: json('Requests are taken.', schema('readiness')),
    400: json('This process has no such door.', schema('api-error')),
    503: json('They are not, and why.', schema('readiness')),
  },
})

const usage = (): Json => ({
  operationId: 'usage',
  summary: 'What was used and what it costs.',
  description:
    'The same as the operation of that name, for whoever may read. Days are in UTC; without a span it is today.',
  parameters: [
    ...['from', 'to'].map((name) => ({
      name,
      in: 'query',
      description: `The ${name === 'from' ? 'first' : 'last'} day.`,
      schema: { type: 'string', format: 'date' },
    })),
    {
      name: 'by',
      in: 'query',
      description: `A row for each: a list with commas of ${USAGE_BY.join(', ')}; default tenant.`,
      schema: TEXT,
    },
    { name: 'tenant', in: 'query', description: 'Of this one only.', schema: TEXT },
  ],
  responses: {
    200: json('The report.', schema('admin.usage.answer')),
    ...refused({
      400: 'A day, a name or a key that there is not.',
      503: 'The store of usage does not answer.',
    }),
  },
})

const budgets = (): Json => ({
  operationId: 'budgets',
  summary: 'How far the budgets of tenants are used.',
  description:
    'The same as the operation of that name, for whoever may read; more of a budget is given there only.',
  parameters: [{ name: 'tenant', in: 'query', description: 'Of this one only.', schema: TEXT }],
  responses: {
    200: json('The budgets.', schema('admin.budgets.answer')),
    ...refused({
      400: 'A key that there is not, or a tenant that cannot be.',
      503: 'The store of budgets does not answer.',
    }),
  },
})

const events = (): Json => ({
  operationId: 'events',
  summary: 'Everything that happens: what is still kept, then each event as it comes.',
  description:
    'Each event has a number as `id:`, its name as `event:`, and as `data:` the JSON of `recorded-event`. A slow reader hears `event: lost` and how many. Comments keep the connection alive.',
  parameters: [
    {
      name: 'last-event-id',
      in: 'header',
      description: 'Only what came after this number.',
      schema: { type: 'string', pattern: '^[0-9]{1,15}$' },
    },
  ],
  responses: {
    200: { description: 'Events.', content: { 'text/event-stream': { schema: TEXT } } },
    ...refused({ 503: 'As many readers are connected as are served.' }),
  },
})

function act(op: AdminOp): Json {
  const content = {
    'application/json': { schema: schema(`admin.${op}`) },
    ...(op === 'config' ? { 'application/yaml': { schema: TEXT } } : {}),
  }
  return {
    operationId: `admin.${op}`,
    summary: shapes[`admin.${op}`]?.says,
    security: [{ adminToken: [] }],
    requestBody: {
      required: ['emergency', 'lane', 'upstream', 'status', 'cancel'].includes(op),
      content,
    },
    responses: {
      200: json('Done.', schema(adminAnswerShape(op))),
      ...refused({
        400: 'The body does not fit, or the configuration is refused.',
        401: 'No token, or a wrong one.',
        ...(op === 'status' ? { 404: 'This instance does not know the id.' } : {}),
        403: 'No token is set, or the origin is a foreign one.',
        413: 'The body is larger than a configuration may be.',
      }),
    },
  }
}

/** What `data:` of `/api/events` holds, by the event's name. */
const recordedEvent: Json = {
  title: 'RecordedEvent',
  oneOf: eventNames.map((name) =>
    object({
      name: { type: 'string', const: name },
      time: { type: 'string', format: 'date-time' },
      data: schema(`event.${name}`),
    }),
  ),
}

function object(properties: Json): Json {
  return { type: 'object', properties, required: Object.keys(properties) }
}

function json(description: string, of: Json): Json {
  return { description, content: { 'application/json': { schema: of } } }
}

const refused = (statuses: Record<number, string>): Json =>
  Object.fromEntries(
    Object.entries(statuses).map(([status, says]) => [status, json(says, schema('api-error'))]),
  )
