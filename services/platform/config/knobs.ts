/** The schema of `headgate.yaml` read back as a list: what each knob is called, takes and means.
 *  Errors (`load`) and the page (`describe`) speak from it, so neither repeats a number. */
import { z } from 'zod'
import { configFile, type ChangeTakes } from '#contracts/config'
import { MODEL, MODEL_SHAPE, TOKEN, TOKEN_SHAPE } from '#contracts/ids'

export interface Knob {
  /** As it is written, `<name>` and `[]` where the file chooses: `lanes.<name>.weight`. */
  path: string
  allowed: string
  /** Undefined where absence has a meaning of its own; `why` says which. */
  default: unknown
  required: boolean
  unit: string
  why: string
  source: string
  /** What a change takes; null: nothing but saying so. */
  takes: ChangeTakes | null
}

type Path = readonly PropertyKey[]

/** Every knob, in the order of the schema. `tenants.default` takes what `tenants.<name>` takes. */
export function knobs(): Knob[] {
  return collect(schema(), '', false)
}

/** What may stand at a path of the file, in words; null where nothing may. */
export function allowedAt(path: Path): string | null {
  const at = nodeAt(path)
  return at === null ? null : describe(at)
}

/** The keys that may stand under a path; empty where any name may, or none. */
export const keysAt = (path: Path): string[] => Object.keys(nodeAt(path)?.properties ?? {})

/** The only door of this file to zod's JSON Schema; the part of it that our schemas use. */
interface Node {
  type?: string
  default?: unknown
  properties?: Record<string, Node>
  required?: string[]
  additionalProperties?: Node | false
  items?: Node
  enum?: unknown[]
  const?: unknown
  pattern?: string
  format?: string
  minimum?: number
  exclusiveMinimum?: number
  maximum?: number
  minItems?: number
  maxItems?: number
  minLength?: number
  maxLength?: number
  unit?: string
  why?: string
  source?: string
  takes?: ChangeTakes
}

let built: Node | null = null

function schema(): Node {
  built ??= z.toJSONSchema(configFile, { io: 'input' }) as Node
  return built
}

function nodeAt(path: Path): Node | null {
  let at: Node | undefined = schema()
  for (const step of path) {
    const inner: Node | undefined | false =
      typeof step === 'number'
        ? at?.items
        : ((Object.hasOwn(at?.properties ?? {}, step)
            ? at?.properties?.[String(step)]
            : undefined) ?? at?.additionalProperties)
    if (inner === undefined || inner === false) return null
    at = inner
  }
  return at ?? null
}

function collect(node: Node, path: string, required: boolean): Knob[] {
  const under = (name: string): string => (path === '' ? name : `${path}.${name}`)
  const own = Object.entries(node.properties ?? {})
    .filter(([name]) => under(name) !== 'tenants.default')
    .flatMap(([name, inner]) => collect(inner, under(name), node.required?.includes(name) ?? false))
  const named =
    typeof node.additionalProperties === 'object'
      ? collect(node.additionalProperties, under('<name>'), false)
      : []
  if (own.length + named.length > 0) return [...own, ...named]
  if (node.items?.properties !== undefined) return collect(node.items, `${path}[]`, false)
  return [
    {
      path,
      allowed: describe(node),
      default: node.default,
      required,
      unit: node.unit ?? '',
      why: node.why ?? '',
      source: node.source ?? '',
      takes: node.takes ?? null,
    },
  ]
}

function describe(node: Node): string {
  if (node.enum !== undefined) return node.enum.map(String).join(' or ')
  if (node.const !== undefined) return String(node.const)
  switch (node.type) {
    case 'integer':
      return `an integer ${range(node)}`
    case 'number':
      return `a number ${range(node)}`
    case 'boolean':
      return 'true or false'
    case 'string':
      return describeText(node)
    case 'array':
      return describeList(node)
    default: {
      const keys = Object.keys(node.properties ?? {})
      if (keys.length === 0) return 'a map of names'
      return `a map with ${keys.join(', ')}${node.additionalProperties ? ', or any other name' : ''}`
    }
  }
}

const range = (node: Node): string =>
  node.exclusiveMinimum === undefined
    ? `from ${node.minimum} to ${node.maximum}`
    : `above ${node.exclusiveMinimum}, at most ${node.maximum}`

function describeText(node: Node): string {
  if (node.format === 'uri') return 'an http or https URL'
  if (node.pattern === TOKEN.source) return TOKEN_SHAPE
  if (node.pattern === MODEL.source) return MODEL_SHAPE
  if (node.pattern !== undefined) return `text that fits ${node.pattern}`
  if (node.maxLength !== undefined)
    return `text of ${node.minLength ?? 0} to ${node.maxLength} characters`
  return 'text'
}

function describeList(node: Node): string {
  const size =
    node.maxItems === undefined
      ? node.minItems === undefined
        ? 'a list'
        : `a list of at least ${node.minItems}`
      : `a list of ${node.minItems ?? 0} to ${node.maxItems}`
  if (node.items === undefined) return size
  return node.items.properties === undefined
    ? `${size}, each ${describe(node.items)}`
    : `${size} maps`
}
