/** `headgate.yaml` read, checked and resolved. Every problem is told with its place, its path, what was
 *  found and what is allowed; a value that may be a secret is never shown. A bad file is refused whole. */
import { createHash } from 'node:crypto'
import { readFileSync, statSync } from 'node:fs'
import type { z } from 'zod'
import { configFile, resolve, type Config, type ConfigFile } from '#contracts/config'
import type { FormerKey } from '#contracts/former-keys'
import { nearest } from '#contracts/known-names'
import { allowedAt, keysAt, knobs } from './knobs.ts'
import {
  CONFIG_BYTES_MAX,
  parse,
  placeOf,
  written,
  type Path,
  type Places,
  type Problem,
} from './parse.ts'

export { CONFIG_BYTES_MAX, written, type Problem }

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
  const inTenant =
    at[0] === 'tenants' && at[1] !== 'unknown' && at[2] !== 'lanes' && at[2] !== 'limits'
  if (at[0] === 'upstreams' || (inTenant && (at[2] === 'keys' || typeof value === 'string')))
    return 'found something else (not shown, it may be a secret)'
  if (typeof value !== 'string') return `found ${String(value)}`
  if (value.length > 40 || looksSecret(value)) return 'found other text (not shown)'
  return `found ${JSON.stringify(value)}`
}

const looksSecret = (text: string): boolean =>
  /^sk-|sha256|key|token|secret|passw|:\/\/.*@/i.test(text)

const line = (name: string, of: Problem): string => {
  const place = of.line === 0 ? name : `${name}:${of.line}:${of.column}`
  return of.path === '' ? `${place}: ${of.message}` : `${place}: ${of.path}: ${of.message}`
}

function formerWarning({ path, former, present }: FormerKey, places: Places, name: string): string {
  const at = [...path, former]
  const place = placeOf(at, places, 'key')
  return line(name, { ...place, path: written(at), message: `is called ${present} now` })
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
