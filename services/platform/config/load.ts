/** `headgate.yaml` read, checked and resolved. Every problem is told with its place, its path, what was
 *  found and what is allowed; a value that may be a secret is never shown. A bad file is refused whole. */
import { createHash } from 'node:crypto'
import { readFileSync, statSync } from 'node:fs'
import { isAlias, isMap, isScalar, isSeq, LineCounter, parseDocument, type Node } from 'yaml'
import type { z } from 'zod'
import { configFile, resolve, type Config, type ConfigFile } from '#contracts/config'
import { withPresentKeys, type FormerKey } from '#contracts/former-keys'
import { nearest } from '#contracts/known-names'
import { allowedAt, keysAt, knobs } from './knobs.ts'

export interface Problem {
  /** 1-based; 0 when the problem has no place, such as a file that cannot be read. */
  line: number
  column: number
  /** As one would write it: `tenants.acme.keys[0]`. */
  path: string
  message: string
}

export interface Loaded {
  /** Its `file` holds hashed keys only. */
  config: Config
  warnings: string[]
  /** sha256 in hex, of each HTTP key, to the tenant that holds it. */
  keys: ReadonlyMap<string, string>
  /** What was read, to tell a real change from a touched file. */
  text: string
}

/** A problem whose words are made when they are shown: of thousands, twenty are. */
type Finding = Omit<Problem, 'message'> & { message: string | (() => string) }

/** A file that may not run. The message lists at most `PROBLEMS_MAX` problems, one per line. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
  readonly problems: readonly Problem[]
  constructor(name: string, found: readonly Finding[]) {
    const sorted = found.toSorted((a, b) => a.line - b.line || a.column - b.column)
    const kept = sorted.slice(0, PROBLEMS_MAX).map(({ line, column, path, message }) => ({
      ...{ line, column, path },
      message: typeof message === 'string' ? message : message(),
    }))
    const more = sorted.length - kept.length
    const lines = kept.map((one) => line(name, one))
    super([...lines, ...(more > 0 ? [`… and ${more} more`] : [])].join('\n'))
    this.problems = kept
  }
}

export const PROBLEMS_MAX = 20
/** A larger file is a mistake, or an attack on the parser. */
export const CONFIG_BYTES_MAX = 1_000_000

/** `text` wins over what stands at `path`, which then only names it. Throws a `ConfigError`. */
export function loadConfig(of: { path: string | null; text?: string; emergency: boolean }): Loaded {
  const name = of.path ?? 'headgate.yaml'
  const text = of.text ?? (of.path === null ? '' : read(of.path))
  const { value, former, places, problems } = parse(text)
  if (problems.length > 0) throw new ConfigError(name, problems)
  const checked = configFile.safeParse(value)
  if (!checked.success) {
    const found = checked.error.issues.flatMap((issue) => findingsOf(issue, value, places))
    throw new ConfigError(name, found)
  }
  const keyed = hashKeys(checked.data, places, name)
  const { config, contradictions } = resolve(keyed.file, { emergency: of.emergency })
  const other = resolve(keyed.file, { emergency: !of.emergency }).contradictions
  const known = new Set(contradictions)
  const only = other.filter((one) => !known.has(one))
  const state = of.emergency ? 'off' : 'on'
  const all = [
    ...contradictions,
    ...only.map((one) => `${one} (when the emergency switch is ${state})`),
  ].map((one) => contradiction(one, places))
  if (all.length + keyed.problems.length > 0)
    throw new ConfigError(name, [...keyed.problems, ...all])
  // Most often a file that something cut off: its tenants, keys and limits are gone with it.
  const given = of.path !== null || of.text !== undefined
  const empty = given && text.trim() === '' ? [`${name}: the file is empty: defaults hold`] : []
  const renamed = former.map((one) => formerWarning(one, places, name))
  return { config, warnings: [...empty, ...renamed, ...keyed.warnings], keys: keyed.keys, text }
}

function read(path: string): string {
  const nowhere = (message: string): ConfigError =>
    new ConfigError(path, [{ line: 0, column: 0, path: '', message }])
  let bytes: Buffer
  try {
    const found = statSync(path)
    if (!found.isFile()) throw nowhere('is no regular file')
    if (found.size > CONFIG_BYTES_MAX)
      throw nowhere(`is ${found.size} bytes; at most ${CONFIG_BYTES_MAX}`)
    bytes = readFileSync(path)
  } catch (error) {
    if (error instanceof ConfigError) throw error
    const code = (error as NodeJS.ErrnoException).code ?? 'unreadable'
    throw nowhere(
      code === 'ENOENT'
        ? 'no such file; give its path with --config or HEADGATE_CONFIG, or leave both out for defaults'
        : `cannot be read (${code})`,
    )
  }
  if (bytes.length > CONFIG_BYTES_MAX)
    throw nowhere(`${bytes.length} bytes; at most ${CONFIG_BYTES_MAX}`)
  return bytes.toString('utf8')
}

// ---- text to value, with the place of everything ----

type Path = readonly PropertyKey[]
interface Place {
  line: number
  column: number
}
/** By path: where the key stands, and where its value does. */
type Places = Map<string, { key: Place; value: Place }>

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

interface Parsed {
  value: unknown
  /** Keys that have another name now; `value` has the present ones. */
  former: readonly FormerKey[]
  places: Places
  problems: Problem[]
}

function parse(text: string): Parsed {
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
      problems.push({ ...at(error.pos[0]), path: '', message: yamlMessage(error.code) })
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

function formerWarning({ path, former, present }: FormerKey, places: Places, name: string): string {
  const at = [...path, former]
  const place = placeOf(at, places, 'key')
  return line(name, { ...place, path: written(at), message: `is called ${present} now` })
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

// ---- issues to problems ----

function findingsOf(issue: z.core.$ZodIssue, value: unknown, places: Places): Finding[] {
  const { path } = issue
  if (issue.code === 'unrecognized_keys')
    return issue.keys.map((key) => ({
      ...placeOf([...path, key], places, 'key'),
      path: written([...path, key]),
      message: () => unknownKey(path, key),
    }))
  if (issue.code === 'invalid_key') {
    const why = issue.issues[0]?.message ?? 'not a name'
    return [{ ...placeOf(path, places, 'key'), path: written(path), message: `a name: ${why}` }]
  }
  return [
    {
      ...placeOf(path, places, 'value'),
      path: written(path),
      message: () => unfit(issue, valueAt(value, path)),
    },
  ]
}

function unfit({ path, message }: z.core.$ZodIssue, found: unknown): string {
  const allowed = allowedAt(path)
  const own = message.startsWith('expected ') || allowed === null
  const expected = own ? message : `allowed: ${allowed}`
  return found === undefined ? `missing; ${expected}` : `${shown(path, found)}; ${expected}`
}

function unknownKey(parent: Path, key: string): string {
  const siblings = keysAt(parent)
  const elsewhere = knobs().find((knob) => knob.path.split('.').at(-1) === key)
  const near = elsewhere === undefined ? nearest(key, siblings) : null
  if (near !== null) return `unknown key; did you mean ${near}?`
  if (elsewhere !== undefined) return `unknown key here; it belongs to ${elsewhere.path}`
  return `unknown key; allowed: ${siblings.length === 0 ? 'none' : siblings.join(', ')}`
}

function contradiction(text: string, places: Places): Problem {
  const cut = text.indexOf(': ')
  const path = cut < 0 ? [] : text.slice(0, cut).split('.')
  const message = text.slice(cut + 2).replaceAll(/\bsk-[\w-]+/gi, '(not shown)')
  return { ...placeOf(path, places, 'value'), path: written(path), message }
}

function placeOf(path: Path, places: Places, side: 'key' | 'value'): Place {
  for (let length = path.length; length > 0; length--) {
    const place = places.get(keyOf(path.slice(0, length)))
    if (place !== undefined) return length === path.length ? place[side] : place.key
  }
  return { line: 1, column: 1 }
}

const valueAt = (value: unknown, path: Path): unknown =>
  path.reduce<unknown>(
    (at, step) =>
      typeof at === 'object' && at !== null && Object.hasOwn(at, step)
        ? (at as Record<PropertyKey, unknown>)[step]
        : undefined,
    value,
  )

/** Numbers and switches are shown; text only where it is short, looks like no secret, and none belongs. */
function shown(path: Path, value: unknown): string {
  if (value === null) return 'empty'
  if (Array.isArray(value)) return 'found a list'
  if (typeof value === 'object') return 'found a map'
  const at = path.map(String)
  const inTenant = at[0] === 'tenants' && at[1] !== 'unknown' && at[2] !== 'lanes'
  if (at[0] === 'upstreams' || (inTenant && (at[2] === 'keys' || typeof value === 'string')))
    return 'found something else (not shown, it may be a secret)'
  if (typeof value !== 'string') return `found ${String(value)}`
  if (value.length > 40 || looksSecret(value)) return 'found other text (not shown)'
  return `found ${JSON.stringify(value)}`
}

const looksSecret = (text: string): boolean =>
  /^sk-|sha256|key|token|secret|passw|:\/\/.*@/i.test(text)

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

const line = (name: string, of: Problem): string => {
  const place = of.line === 0 ? name : `${name}:${of.line}:${of.column}`
  return of.path === '' ? `${place}: ${of.message}` : `${place}: ${of.path}: ${of.message}`
}

// ---- keys ----

const HASHED = /^sha256:([0-9a-f]{64})$/i

export const hashOfKey = (key: string): string => createHash('sha256').update(key).digest('hex')

/** Replaces every plain key by its hash, so that no configuration in memory or on a screen holds one. */
function hashKeys(file: ConfigFile, places: Places, name: string) {
  const keys = new Map<string, string>()
  const warnings: string[] = []
  const problems: Problem[] = []
  const tenants: Record<string, unknown> = { ...file.tenants }
  for (const [tenant, said] of Object.entries(file.tenants)) {
    if (typeof said === 'string' || !('keys' in said) || !Array.isArray(said.keys)) continue
    const hashed = said.keys.map((key: string, index: number) => {
      const path = ['tenants', tenant, 'keys', index]
      const place = placeOf(path, places, 'value')
      const problem = (message: string): void =>
        void problems.push({ ...place, path: written(path), message })
      const given = HASHED.exec(key)?.[1]?.toLowerCase()
      if (given === undefined && key.startsWith('sha256:'))
        problem('expected sha256: and 64 hexadecimal digits')
      const hash = given ?? hashOfKey(key)
      const holder = keys.get(hash)
      if (holder !== undefined) problem(`the same key as one of tenants.${holder}`)
      keys.set(hash, tenant)
      if (given === undefined)
        warnings.push(
          line(name, {
            ...place,
            path: written(path),
            message: `a plain key; write "sha256:${hash}" instead`,
          }),
        )
      return `sha256:${hash}`
    })
    tenants[tenant] = { ...said, keys: hashed }
  }
  return { file: { ...file, tenants: tenants as ConfigFile['tenants'] }, keys, warnings, problems }
}
