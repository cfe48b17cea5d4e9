/** The text of `headgate.yaml` as a value, with the place of everything in it; nothing of it is judged here but whether
 *  it can be read. */
import { isAlias, isMap, isScalar, isSeq, LineCounter, parseDocument, type Node } from 'yaml'
import { withPresentKeys, type FormerKey } from '#contracts/former-keys'
import { allowedAt } from './knobs.ts'

export interface Problem {
  /** 1-based; 0 when the problem has no place, such as a file that cannot be read. */
  line: number
  column: number
  /** As one would write it: `tenants.acme.keys[0]`. */
  path: string
  message: string
}

/** A larger file is a mistake, or an attack on the parser. */
export const CONFIG_BYTES_MAX = 1_000_000

export type Path = readonly PropertyKey[]
export interface Place {
  line: number
  column: number
}
/** By path: where the key stands, and where its value does. */
export type Places = Map<string, { key: Place; value: Place }>

const keyOf = (path: Path): string => path.map(String).join('\n')

/** Deeper than any setting; a parser takes seconds over thousands. */
const DEPTH_MAX = 32

/** Brackets that stand open together, or dashes in a row, before anything is parsed. */
function tooDeep(text: string): boolean {
  let depth = 0
  for (let i = 0; i < text.length; i++) {
    const c = text[i]
    if (c === '[' || c === '{') depth++
    else if ((c === ']' || c === '}') && depth > 0) depth--
    if (depth > DEPTH_MAX) return true
  }
  return new RegExp(`(?:- +){${DEPTH_MAX + 1}}`).test(text)
}

export interface Parsed {
  value: unknown
  /** Keys that have another name now; `value` has the present ones. */
  former: readonly FormerKey[]
  places: Places
  problems: Problem[]
}

export function parse(text: string): Parsed {
  const places: Places = new Map()
  const problems: Problem[] = []
  if (text.length > CONFIG_BYTES_MAX) {
    const message = `${text.length} characters; at most ${CONFIG_BYTES_MAX}`
    return unread(message)
  }
  if (tooDeep(text)) {
    const message = `nested deeper than ${DEPTH_MAX}; no setting is`
    return unread(message)
  }
  const lines = new LineCounter()
  const at = (offset: number): Place => {
    const { line, col } = lines.linePos(offset)
    return { line, column: col }
  }
  try {
    const document = parseDocument(text, {
      lineCounter: lines,
      prettyErrors: false,
      uniqueKeys: false,
      // Not `silent`: that would let a second document pass.
      logLevel: 'error',
    })
    for (const error of [...document.errors, ...document.warnings])
      addOnce(problems, { ...at(error.pos[0]), path: '', message: yamlMessage(error.code) })
    if (problems.length > 0) return { value: {}, former: [], places, problems }
    walk(document.contents, [], { places, problems, at })
    const { file, found } = withPresentKeys(document.toJS() ?? {})
    for (const one of found) moveFormer(one, places, problems)
    return { value: withoutNulls(file, []), former: found, places, problems }
  } catch (error) {
    // The parser's own words may quote the file, so they are not repeated.
    const message =
      error instanceof ReferenceError
        ? 'an alias (*name) that no anchor defines, or too many of them'
        : 'not readable as YAML'
    return unread(message)
  }
}

const unread = (message: string): Parsed => ({
  value: {},
  former: [],
  places: new Map(),
  problems: [{ line: 1, column: 1, path: '', message }],
})

/** What is wrong with the value of a key that was renamed is told where that stands. */
function moveFormer({ path, former, present, twice }: FormerKey, to: Places, problems: Problem[]) {
  const at = [...path, former]
  const place = to.get(keyOf(at))
  if (twice) {
    const message = `is called ${present} now, and both stand there; keep ${present}`
    problems.push({ ...placeOf(at, to, 'key'), path: written(at), message })
  } else if (place !== undefined) to.set(keyOf([...path, present]), place)
}

/** Our words, by code: the parser's may quote what stands there, and that may be a key. */
function yamlMessage(code: string): string {
  const known: Record<string, string> = {
    TAB_AS_INDENT: 'a tab in the indentation; use spaces',
    BAD_INDENT: 'the indentation does not fit the lines above',
    MULTIPLE_DOCS: 'a second document (---); only one is read',
    MISSING_CHAR: 'a closing quote, bracket or colon is missing',
    BLOCK_AS_IMPLICIT_KEY: 'a nested block where one value was expected',
    TAG_RESOLVE_FAILED: 'a tag (!name) that means nothing here; quote text that begins with !',
    BAD_DQ_ESCAPE: 'an unknown escape in double quotes',
    BAD_SCALAR_START: 'a value that begins with a reserved character; quote it',
  }
  return known[code] ?? `not valid YAML (${code})`
}

interface Walk {
  places: Places
  problems: Problem[]
  at(offset: number): Place
}

function walk(node: unknown, path: Path, to: Walk): void {
  if (isMap(node)) {
    for (const pair of node.items) {
      const key = pair.key
      const place = to.at(startOf(key) ?? startOf(node) ?? 0)
      if (!isScalar(key)) {
        to.problems.push({ ...place, path: written(path), message: 'a key must be plain text' })
        continue
      }
      const inner = [...path, String(key.value)]
      if (to.places.has(keyOf(inner)))
        to.problems.push({ ...place, path: written(inner), message: 'stands twice; keep one' })
      if (key.value === '__proto__')
        to.problems.push({ ...place, path: written(path), message: '__proto__ is not a name' })
      to.places.set(keyOf(inner), {
        key: place,
        value: to.at(startOf(pair.value) ?? startOf(key) ?? 0),
      })
      walk(pair.value, inner, to)
    }
  } else if (isSeq(node)) {
    for (const [index, item] of node.items.entries()) {
      const place = to.at(startOf(item) ?? startOf(node) ?? 0)
      to.places.set(keyOf([...path, index]), { key: place, value: place })
      walk(item, [...path, index], to)
    }
  }
}

function startOf(node: unknown): number | undefined {
  if (isScalar(node) || isMap(node) || isSeq(node) || isAlias(node))
    return (node as Node).range?.[0]
  return undefined
}

/** A heading with nothing under it is as good as absent; a named lane, tenant or upstream is all defaults. */
function withoutNulls(value: unknown, path: Path): unknown {
  if (Array.isArray(value)) return value.map((one, index) => withoutNulls(one, [...path, index]))
  if (typeof value !== 'object' || value === null) return value
  const kept: Record<string, unknown> = {}
  for (const [key, inner] of Object.entries(value)) {
    if (inner !== null) kept[key] = withoutNulls(inner, [...path, key])
    else if (path.length === 1 && isNamed(path[0], key)) kept[key] = {}
    else if (allowedAt([...path, key]) === null) kept[key] = inner
  }
  return kept
}

const isNamed = (section: PropertyKey | undefined, key: string): boolean =>
  section === 'lanes' || section === 'upstreams' || (section === 'tenants' && key !== 'unknown')

// ---- places in words ----

export function placeOf(path: Path, places: Places, side: 'key' | 'value'): Place {
  for (let length = path.length; length > 0; length--) {
    const place = places.get(keyOf(path.slice(0, length)))
    if (place !== undefined) return length === path.length ? place[side] : place.key
  }
  return { line: 1, column: 1 }
}

/** `routes[0].model`; what looks like a key, or like no name at all, is not written out. */
export function written(path: Path): string {
  let text = ''
  for (const step of path) {
    if (typeof step === 'number' || /^\d+$/.test(String(step))) text += `[${String(step)}]`
    else {
      const name = String(step)
      const safe = /^(?!sk-)[\w. -]{1,64}$/i.test(name) ? name : '(name not shown)'
      text += text === '' ? safe : `.${safe}`
    }
  }
  return text
}

/** One place may be wrong in two ways that are said alike. */
function addOnce(to: Problem[], one: Problem): void {
  const same = (other: Problem): boolean =>
    other.line === one.line && other.column === one.column && other.message === one.message
  if (!to.some(same)) to.push(one)
}
