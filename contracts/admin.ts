/** What an operator may ask, over NATS and HTTP alike: an operation and a JSON body. */
import { z } from 'zod'
import type { AdminOp } from './subjects.ts'

export type AdminAsk =
  | { op: 'snapshot' }
  /** Null asks for what is in force. */
  | { op: 'config'; yaml: string | null }
  | { op: 'emergency'; on: boolean }
  | { op: 'lane'; lane: string; paused: boolean }
  | { op: 'drain' }

const emergency = z.object({
  on: z.boolean({ error: 'expected true or false' }),
})
const lane = z.object({
  lane: z.string({ error: 'expected the name of a lane' }),
  paused: z.boolean({ error: 'expected true or false' }),
})
/** One instance alone is spoken to by its id, where several hear the question. */
const address = z.looseObject({
  instance: z.string({ error: 'expected the id of one instance' }).optional(),
})

/** The JSON body of each operation. */
export const adminBodies = {
  snapshot: address,
  /** Also the file as YAML text, or as the object itself; nothing: what is in force? */
  config: address.extend({ yaml: z.string().optional() }),
  emergency: address.extend(emergency.shape),
  lane: address.extend(lane.shape),
  drain: address,
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
  const addressed = address.safeParse(json)
  if (!addressed.success) return { problem: said(addressed.error) }
  const { instance = null, ...body } = {
    ...addressed.data,
    instance: addressed.data.instance ?? null,
  }
  switch (op) {
    case 'snapshot':
    case 'drain':
      return { ask: { op }, instance }
    case 'config':
      return configAsk(body, instance)
    case 'emergency': {
      const read = emergency.safeParse(body)
      return read.success ? { ask: { op, ...read.data }, instance } : { problem: said(read.error) }
    }
    case 'lane': {
      const read = lane.safeParse(body)
      return read.success ? { ask: { op, ...read.data }, instance } : { problem: said(read.error) }
    }
  }
}

function configAsk(body: Record<string, unknown>, instance: string | null): AdminRead {
  const { yaml } = body
  if (Object.keys(body).length === 0) return { ask: { op: 'config', yaml: null }, instance }
  if (yaml === undefined) return { ask: { op: 'config', yaml: JSON.stringify(body) }, instance }
  if (typeof yaml !== 'string') return { problem: 'yaml: expected the file as a string' }
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

function said(error: z.ZodError): string {
  const [issue] = error.issues
  return issue === undefined ? 'does not fit' : `${issue.path.join('.')}: ${issue.message}`
}
