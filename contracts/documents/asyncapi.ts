/** The NATS wire contract as an AsyncAPI 3.0 document, told from Headgate's side: what it receives, you send.
 *  Addresses come from `subjects`, shapes from `json-schemas`. */
import { eventMessage, messages, schemas } from './asyncapi-messages.ts'
import { eventData } from '#contracts/events'
import { MODEL_SHAPE, TOKEN, TOKEN_SHAPE } from '#contracts/ids'
import { CONTRACT_VERSION, eventRows, eventsOn, shapes, type Json } from './json-schemas.ts'
import {
  ADMIN_OPS,
  AUX_KINDS,
  SHARED_OPS,
  subjects,
  type AdminOp,
  type Subjects,
} from '#contracts/subjects'

/** As NATS says it: one member of the group gets each message. */
const QUEUE = 'headgate'

/** The document for one `subject_prefix`. */
export function asyncapi(prefix = 'llm'): Json {
  const on = subjects(prefix)
  const all = [...asksOf(on), ...discoveries]
  const tells = tellsOf(on)
  return {
    asyncapi: '3.0.0',
    id: 'urn:headgate:v1:nats',
    info: {
      title: 'Headgate over NATS',
      version: CONTRACT_VERSION,
      description: INFO(on.root),
      license: { name: 'Apache-2.0', url: 'https://www.apache.org/licenses/LICENSE-2.0' },
    },
    defaultContentType: 'application/json',
    servers: {
      nats: {
        host: '127.0.0.1:4222',
        protocol: 'nats',
        description: 'Any nats-server; who may publish for which tenant is its permissions to say.',
      },
    },
    channels: {
      ...Object.fromEntries(all.map((ask) => [ask.name, channelOf(ask, [ask.message])])),
      ...Object.fromEntries(tells.map((tell) => [tell.name, channelOf(tell, tell.messages)])),
      inbox: {
        address: null,
        description:
          'The reply subject that a caller names: an inbox of its own. Another is never answered.',
        messages: refsTo('messages', [...new Set(all.flatMap((ask) => ask.replies))]),
      },
    },
    operations: {
      ...Object.fromEntries(
        all.filter((ask) => ask.replies.length > 0).map((ask) => [ask.name, receiveOf(ask)]),
      ),
      ...Object.fromEntries(tells.map((tell) => [tell.name, sendOf(tell)])),
    },
    components: { messages: messages(), schemas: schemas(), parameters },
  }
}

const INFO = (root: string): string =>
  `A multi-tenant scheduler for Claude API calls. Anthropic-native in the body: what you would POST to \`/v1/messages\` goes in, what the API would answer comes out, byte for byte. NATS-native in the headers: scheduling goes in, accounting comes out.

Written from Headgate's side: what it receives, you send. Subjects begin with \`${root}\`; another \`subject_prefix\` changes the first token. Header names are matched in either case of letters.`

// ---- what is asked ----

interface Channel {
  name: string
  address: string
  says: string
  parameters: readonly Parameter[]
}

interface Ask extends Channel {
  message: string
  /** None: this version does not answer it. */
  replies: readonly string[]
  queue?: true
}

const asksOf = (on: Subjects): Ask[] => [
  {
    name: 'request',
    address: on.request('{tenant}', '{lane}'),
    says: 'One Messages call. The answer is one message; with `"stream": true` in the body one message for each event of the upstream, pings between, and an empty end. Without a reply subject it is dropped.',
    parameters: ['tenant', 'lane'],
    message: 'request',
    replies: ['answer', 'streamEvent', 'ping', 'streamEnd', 'error'],
    queue: true,
  },
  {
    name: 'cancel',
    address: on.cancel('{tenant}', '{id}'),
    says: 'Cancels a request or a job, whichever instance holds it.',
    parameters: ['tenant', 'id'],
    message: 'question',
    replies: ['cancelAnswer', 'error'],
  },
  {
    name: 'status',
    address: on.status('{tenant}', '{id}'),
    says: 'Where a request or a job stands; an ended one is remembered for a while.',
    parameters: ['tenant', 'id'],
    message: 'status',
    replies: ['statusAnswer', 'error'],
  },
  {
    name: 'submit',
    address: on.submit('{tenant}', '{lane}'),
    says: 'A durable job. It is checked, then stored, then answered with its receipt. Where the server has no JetStream nobody answers.',
    parameters: ['tenant', 'lane'],
    message: 'job',
    replies: ['jobReceipt', 'error'],
    queue: true,
  },
  {
    name: 'fetch',
    address: on.fetch('{tenant}', '{id}'),
    says: 'The stored result of a job: the message that a request would have been answered with. Waits for one that is not there yet, then says `pending`.',
    parameters: ['tenant', 'id'],
    message: 'fetch',
    replies: ['answer', 'error'],
    queue: true,
  },
  ...AUX_KINDS.map((kind) => ({
    name: kind,
    address: on.aux(kind, '{tenant}'),
    says: `The upstream's own answer to \`${kind}\`, outside lanes and slots, a few at once.`,
    parameters: ['tenant'] as const,
    message: kind === 'models' ? 'auxQuestion' : 'auxRequest',
    replies: ['auxAnswer', 'error'],
    queue: true as const,
  })),
  ...ADMIN_OPS.map((op) => ({
    name: `admin.${op}`,
    address: on.admin(op),
    says: `${shapes[`admin.${op}`]?.says} For operators, whom NATS permits it. ${isShared(op) ? 'One instance answers.' : 'Every instance answers, or the one that the body names.'}`,
    parameters: [],
    message: `admin.${op}`,
    replies: [`admin.${op}.answer`, 'error'],
    ...(isShared(op) ? { queue: true as const } : {}),
  })),
]

const isShared = (op: AdminOp): boolean => SHARED_OPS.some((one) => one === op)

/** NATS's own subjects, by which its tools find services. */
const discoveries: readonly Ask[] = [
  { name: 'services', tail: '', whom: 'Every service', parameters: ['verb'] as const },
  { name: 'service', tail: '.headgate', whom: 'Every Headgate', parameters: ['verb'] as const },
  {
    name: 'instance',
    tail: '.headgate.{instance}',
    whom: 'One instance',
    parameters: ['verb', 'instance'] as const,
  },
].map(({ name, tail, whom, parameters }) => ({
  name: `discovery.${name}`,
  address: `$SRV.{verb}${tail}`,
  says: `Service discovery (NATS ADR-32). ${whom} answers.`,
  parameters,
  message: 'question',
  replies: ['serviceAnswer'],
}))

// ---- what is told ----

interface Tell extends Channel {
  messages: readonly string[]
}

const tellsOf = (on: Subjects): Tell[] => [
  {
    name: 'result',
    address: on.result('{tenant}', '{id}'),
    says: "A job's one result, published once, when it is stored.",
    parameters: ['tenant', 'id'],
    messages: ['answer', 'error'],
  },
  {
    name: 'event.request',
    address: on.requestEvent('{tenant}', '{lane}'),
    says: 'A request changed state.',
    parameters: ['tenant', 'lane'],
    messages: eventsOn('request').map(eventMessage),
  },
  {
    name: 'event.job',
    address: on.jobEvent('{tenant}', '{lane}'),
    says: 'A durable job changed hands or state. What its attempts do are events of its request.',
    parameters: ['tenant', 'lane'],
    messages: eventsOn('job').map(eventMessage),
  },
  {
    name: 'event.fleet',
    address: on.fleetEvent,
    says: eventRows.fleet.says,
    parameters: [],
    messages: [eventMessage('fleet')],
  },
  {
    name: 'event.budget',
    address: on.controllerEvent('budget', '{tenant}'),
    says: eventRows.budget.says,
    parameters: ['tenant'],
    messages: [eventMessage('budget')],
  },
  ...(['breaker', 'limit', 'guardrail'] as const).map((kind) => {
    const parameter = kind === 'guardrail' ? ('guardrail' as const) : ('route' as const)
    return {
      name: `event.${kind}`,
      address: on.controllerEvent(kind, `{${parameter}}`),
      says: eventRows[kind].says,
      parameters: [parameter],
      messages: [eventMessage(kind)],
    }
  }),
]

// ---- how AsyncAPI says it ----

const parameters = {
  tenant: token('Who is served, bounded and billed; a tenant named elsewhere is ignored.'),
  lane: token('A class of urgency; an unknown one is refused.'),
  id: token('The `Headgate-Id` of a request.'),
  instance: token('The id of one instance.'),
  route: token(
    `\`<upstream>-<model>\`, every character that is not allowed here as \`_\`, cut to 64. A model is ${MODEL_SHAPE}.`,
  ),
  guardrail: {
    description: 'The name of a guardrail.',
    enum: eventData.guardrail.shape.name.options,
  },
  verb: { description: 'What is asked.', enum: ['PING', 'INFO', 'STATS'] },
}
type Parameter = keyof typeof parameters

/** AsyncAPI 3 has no place for the pattern of a parameter. */
function token(says: string): Json {
  return { description: `${says} ${TOKEN_SHAPE}.`, 'x-pattern': TOKEN.source }
}

const refsTo = (kind: string, names: readonly string[]): Json =>
  Object.fromEntries(names.map((name) => [name, { $ref: `#/components/${kind}/${name}` }]))

function channelOf(of: Channel, messageNames: readonly string[]): Json {
  return {
    address: of.address,
    description: of.says,
    ...(of.parameters.length > 0 ? { parameters: refsTo('parameters', of.parameters) } : {}),
    messages: refsTo('messages', messageNames),
  }
}

const inChannel = (channel: string, names: readonly string[]): Json[] =>
  names.map((name) => ({ $ref: `#/channels/${channel}/messages/${name}` }))

const receiveOf = (of: Ask): Json => ({
  action: 'receive',
  channel: { $ref: `#/channels/${of.name}` },
  summary: of.says,
  ...(of.queue ? { bindings: { nats: { queue: QUEUE, bindingVersion: '0.1.0' } } } : {}),
  messages: inChannel(of.name, [of.message]),
  reply: { channel: { $ref: '#/channels/inbox' }, messages: inChannel('inbox', of.replies) },
})

const sendOf = (of: Tell): Json => ({
  action: 'send',
  channel: { $ref: `#/channels/${of.name}` },
  summary: of.says,
  messages: inChannel(of.name, of.messages),
})
