/** What an operator may ask, over NATS and HTTP alike: an operation and a JSON body. */
import { z } from 'zod'
import { TOKEN, TOKEN_SHAPE } from './ids.ts'
import { jobsAsk, jobsBody, type JobsAsk } from './jobs.ts'
import { firstIssue } from './messages.ts'
import { only, plainWords } from './plain-words.ts'
import type { AdminOp } from './subjects.ts'
import { budgetsBody, readBudgetsAsk, type BudgetsAsk } from './budget-ask.ts'
import { readUsageAsk, usageBody, type UsageAsk } from './usage-report.ts'

export type AdminAsk =
  | { op: 'snapshot' }
  /** Null asks for what is in force. */
  | { op: 'config'; yaml: string | null }
  | { op: 'emergency'; on: boolean }
  | { op: 'lane'; lane: string; paused: boolean }
  /** Tests a blocked upstream with the next attempt, instead of waiting for its time. */
  | { op: 'upstream'; upstream: string }
  /** Of any tenant's request; an instance that does not know it leaves the answer to the one that does. */
  | { op: 'status' | 'cancel'; tenant: string; id: string }
  /** Durable jobs: a page of them, or an act on a dead one. One instance answers. */
  | { op: 'jobs'; jobs: JobsAsk }
  /** What was used and what it costs. One instance answers. */
  | { op: 'usage'; usage: UsageAsk }
  /** Budgets of tenants, and more of one. One instance answers. */
  | { op: 'budgets'; budgets: BudgetsAsk }
  | { op: 'drain' }

/** One instance alone is spoken to by its id, where several hear the question. */
const instance = z.string({ error: 'expected the id of one instance' }).optional()
const address = z.looseObject({ instance })
const emergency = only({
  instance,
  on: z.boolean({ error: 'expected true or false' }),
})
const lane = only({
  instance,
  lane: z.string({ error: 'expected the name of a lane' }),
  paused: z.boolean({ error: 'expected true or false' }),
})
const upstream = only({
  instance,
  upstream: z.string({ error: 'expected the name of an upstream' }),
})
const nameShape = { error: `expected ${TOKEN_SHAPE}` }
const name = z.string(nameShape).regex(TOKEN, nameShape)
const request = only({ instance, tenant: name, id: name })
const nothing = only({ instance })

/** The JSON body of each operation. */
export const adminBodies = {
  snapshot: nothing,
  /** Also the file as YAML text, or as the object itself; nothing: what is in force? */
  config: address.extend({ yaml: z.string().optional() }),
  emergency,
  lane,
  upstream,
  status: request,
  cancel: request,
  jobs: jobsBody,
  usage: usageBody,
  budgets: budgetsBody,
  drain: nothing,
} satisfies Record<AdminOp, z.ZodType>

export type AdminRead =
  | { ask: AdminAsk; instance: string | null }
  /** What is wrong and what is expected. */
  | { problem: string }

/** Reads a body. The configuration comes as YAML, as `{"yaml": "…"}`, or as the object itself. */
export function readAdmin(op: AdminOp, text: string): AdminRead {
  const json = text.trim() === '' ? {} : parsed(text)
  if (json === undefined)
    return op === 'config'
      ? { ask: { op, yaml: text }, instance: null }
      : { problem: 'body: expected a JSON object, or nothing' }
  switch (op) {
    case 'snapshot':
    case 'drain':
      return fitted(nothing, json, () => ({ op }))
    case 'config':
      return configAsk(json)
    case 'emergency':
      return fitted(emergency, json, ({ on }) => ({ op, on }))
    case 'upstream':
      return fitted(upstream, json, (read) => ({ op, upstream: read.upstream }))
    case 'status':
    case 'cancel':
      return fitted(request, json, ({ tenant, id }) => ({ op, tenant, id }))
    case 'jobs':
      return jobsRead(json)
    case 'usage':
      return usageRead(json)
    case 'budgets': {
      const budgets = readBudgetsAsk(json)
      if (typeof budgets === 'string') return { problem: budgets }
      return { ask: { op, budgets }, instance: null }
    }
    case 'lane':
      return fitted(lane, json, (read) => ({ op, lane: read.lane, paused: read.paused }))
  }
}

function fitted<Body extends { instance?: string | undefined }>(
  schema: z.ZodType<Body>,
  json: unknown,
  ask: (body: Body) => AdminAsk,
): AdminRead {
  const read = schema.safeParse(json, { error: plainWords })
  if (!read.success) return { problem: firstIssue(read.error) }
  return { ask: ask(read.data), instance: read.data.instance ?? null }
}

function jobsRead(json: unknown): AdminRead {
  const read = jobsBody.safeParse(json, { error: plainWords })
  if (!read.success) return { problem: firstIssue(read.error) }
  const jobs = jobsAsk(read.data)
  return typeof jobs === 'string'
    ? { problem: jobs }
    : { ask: { op: 'jobs', jobs }, instance: null }
}

function usageRead(json: unknown): AdminRead {
  const usage = readUsageAsk(json)
  return typeof usage === 'string'
    ? { problem: usage }
    : { ask: { op: 'usage', usage }, instance: null }
}

/** What the file says is the loader's to read. */
function configAsk(json: unknown): AdminRead {
  const read = address.safeParse(json, { error: plainWords })
  if (!read.success) return { problem: firstIssue(read.error) }
  const { instance = null, ...body } = read.data
  const { yaml, ...more } = body as Record<string, unknown>
  if (Object.keys(body).length === 0) return { ask: { op: 'config', yaml: null }, instance }
  if (yaml === undefined) return { ask: { op: 'config', yaml: JSON.stringify(body) }, instance }
  if (typeof yaml !== 'string') return { problem: 'yaml: expected the file as a string' }
  if (Object.keys(more).length > 0)
    return { problem: 'yaml: expected the whole file there, and nothing of it beside' }
  return { ask: { op: 'config', yaml }, instance }
}

/** Undefined: no JSON object. */
function parsed(text: string): unknown {
  try {
    const json: unknown = JSON.parse(text)
    return typeof json === 'object' && json !== null && !Array.isArray(json) ? json : undefined
  } catch {
    return undefined
  }
}
