/** Changes to `headgate.yaml` that keep its comments and whatever else it says, as text to text. What stands
 *  there and says otherwise is a Failure, never written over; neither is a file that would not load. */
import { isDeepStrictEqual } from 'node:util'
import { isMap, isScalar, isSeq, parseDocument, type Document, type Node } from 'yaml'
import { configFile, resolve, type ConfigFile } from '#contracts/config'
import { withPresentKeys } from '#contracts/former-keys'
import type { LimitGroup } from '#contracts/rate-limits'
import { Failure } from './terminal.ts'

/** Where the one place is that answers may go, once every tenant has a user of its own. */
export const REPLY_PREFIXES: readonly string[] = ['_INBOX_<tenant>.']

/** The beginning of a file that is made. */
export const CONFIG_PREFACE = "# Headgate's configuration. Every knob is optional.\n"

const CONFIG_BYTES_MAX = 1_000_000

export interface ConfigEdit {
  /** The whole file as it should be. */
  text: string
  /** What is different, one sentence each; empty when nothing is. */
  changes: readonly string[]
}

/** `nats.reply_prefixes`, so that an answer goes to the asking tenant's inbox and nowhere else. */
export function withReplyPrefixes(text: string, path: string): ConfigEdit {
  return edit({ text, path }, (file) => {
    const there = file.get(['nats', 'reply_prefixes'])
    if (isDeepStrictEqual(there, REPLY_PREFIXES)) return []
    if (there !== undefined)
      throw new Failure(
        `${path}: nats.reply_prefixes says otherwise; answers may then go where tenants listen to each ` +
          `other, so make it ${JSON.stringify(REPLY_PREFIXES)}, or take it out`,
      )
    file.set(['nats', 'reply_prefixes'], REPLY_PREFIXES)
    return [`nats.reply_prefixes: ${JSON.stringify(REPLY_PREFIXES)}`]
  })
}

/** A tenant with its lanes and one more HTTP key, where there is either or where only named tenants are
 *  served. */
export function withTenant(
  text: string,
  path: string,
  of: { tenant: string; lanes: readonly string[] | null; keyHash: string | null },
): ConfigEdit {
  const { tenant, lanes, keyHash } = of
  return edit({ text, path }, (file) => {
    const changes: string[] = []
    const at = ['tenants', tenant]
    const named = file.has(at)
    if (lanes !== null) {
      const there = file.get([...at, 'lanes'])
      if (there === undefined) {
        file.set([...at, 'lanes'], lanes)
        changes.push(`tenants.${tenant}.lanes: ${lanes.join(', ')}`)
      } else if (!Array.isArray(there) || String(there.toSorted()) !== String(lanes.toSorted()))
        throw new Failure(
          `${path}: tenants.${tenant}.lanes says otherwise than --lanes; make them one`,
        )
    }
    if (keyHash !== null) {
      file.add([...at, 'keys'], keyHash)
      changes.push(`tenants.${tenant}.keys: one more`)
    }
    if (!file.has(at) && file.get(['tenants', 'unknown']) === 'reject') {
      file.set(at, {})
      changes.push(`tenants.${tenant}: named, since tenants.unknown is reject`)
    }
    if (!named && file.has(at) && file.get(['tenants', 'default']) !== undefined)
      changes.push(`tenants.${tenant} is named there, so that tenants.default holds for it no more`)
    return changes
  })
}

/** Without a tenant's HTTP keys; the rest of what is said of it stays. */
export function withoutKeys(text: string, path: string, tenant: string): ConfigEdit {
  return edit({ text, path }, (file) => {
    const at = ['tenants', tenant, 'keys']
    if (file.get(at) === undefined) return []
    file.remove(at)
    return [`tenants.${tenant}.keys: gone`]
  })
}

/** What the provider allows, at each route of an upstream whose model it names: its limits, and one quota for routes
 *  whose models share theirs. */
export function withLimits(
  text: string,
  path: string,
  of: { groups: readonly LimitGroup[]; upstream: string },
): ConfigEdit {
  return edit({ text, path }, (file) => {
    const found = file.get(['routes'])
    const routes = (Array.isArray(found) ? (found as RouteAsWritten[]) : []).map(
      (route, index) => ({ route, index }),
    )
    const ours = routes.filter(({ route }) => (route.upstream ?? 'default') === of.upstream)
    return of.groups.flatMap((group) => {
      const inGroup = ours.filter(({ route }) => group.models.includes(route.model))
      return limitChanges(group, inGroup).map(({ index, key, value, was }) => {
        file.put(['routes', String(index), key], value)
        const { model } = routes[index]!.route
        return `routes.${index} (${model}).${key}: ${was ?? 'none'} -> ${value}`
      })
    })
  })
}

interface RouteAsWritten {
  model: string
  upstream?: string
  quota?: string
  rpm?: number
  itpm?: number
  otpm?: number
}

type LimitKey = 'rpm' | 'itpm' | 'otpm' | 'quota'

function limitChanges(
  group: LimitGroup,
  routes: readonly { route: RouteAsWritten; index: number }[],
): { index: number; key: LimitKey; value: string | number; was: string | number | undefined }[] {
  const named = routes.find(({ route }) => route.quota !== undefined)?.route.quota
  const first = group.models[0] ?? ''
  const quota = named ?? first.replaceAll(/[^A-Za-z0-9_-]/g, '-').slice(0, 64)
  const wanted: Partial<Record<LimitKey, string | number | null>> = {
    ...{ rpm: group.rpm, itpm: group.itpm, otpm: group.otpm },
    quota: routes.length > 1 ? quota : null,
  }
  return routes.flatMap(({ route, index }) =>
    (['quota', 'rpm', 'itpm', 'otpm'] as const).flatMap((key) => {
      const value = wanted[key] ?? null
      return value === null || route[key] === value ? [] : [{ index, key, value, was: route[key] }]
    }),
  )
}

/** The file with its defaults. */
export const configIn = (text: string, path: string): ConfigFile =>
  resolved(read(text, path).toJS(), path, AS_IT_STANDS)

/** The first token of every subject, as the file has it. */
export const subjectPrefixIn = (text: string, path: string): string =>
  resolved(read(text, path).toJS(), path, AS_IT_STANDS).subject_prefix

/** The lanes that a tenant may use, as the file has it, named there or not; null: every lane. */
export function lanesIn(text: string, path: string, tenant: string): readonly string[] | null {
  const { tenants } = resolved(read(text, path).toJS(), path, AS_IT_STANDS)
  const named = Object.hasOwn(tenants, tenant) ? tenants[tenant] : undefined
  const said = typeof named === 'object' ? named : tenants.default
  return said.lanes ?? null
}

type Path = readonly string[]

interface Editor {
  has(path: Path): boolean
  /** As plain values; undefined where nothing stands, or an empty heading. */
  get(path: Path): unknown
  set(path: Path, value: object): void
  /** One value in a map that is there. */
  put(path: Path, value: string | number): void
  /** To a list, which it makes. */
  add(path: Path, item: string): void
  remove(path: Path): void
}

function edit(of: { text: string; path: string }, work: (file: Editor) => string[]): ConfigEdit {
  const { text, path } = of
  const document = read(text, path)
  resolved(document.toJS(), path, AS_IT_STANDS)
  const changes = work(editor(document, path))
  if (changes.length === 0) return { text, changes }
  const edited = write(document, text)
  resolved(read(edited, path).toJS(), path, 'would not load')
  if (!isDeepStrictEqual(read(edited, path).toJS(), document.toJS()))
    throw new Failure(`${path}: cannot be edited without changing what else it says`)
  return { text: edited, changes }
}

const AS_IT_STANDS = 'does not load as it stands'

function read(text: string, path: string): Document.Parsed {
  if (text.length > CONFIG_BYTES_MAX)
    throw new Failure(`${path}: ${text.length} characters; at most ${CONFIG_BYTES_MAX}`)
  const document = parseDocument(text, { logLevel: 'error', prettyErrors: false })
  // The parser's own words may quote the file, and that may be a key.
  if (document.errors.length + document.warnings.length > 0)
    throw new Failure(`${path}: ${AS_IT_STANDS}; headgate doctor --config ${path} says why`)
  return document
}

function write(document: Document, before: string): string {
  const text = document.toString({ lineWidth: 0 })
  return before.includes('\r\n') ? text.replaceAll('\n', '\r\n') : text
}

function editor(document: Document, path: string): Editor {
  const nodeAt = (at: Path): unknown =>
    at.length === 0 ? document.contents : document.getIn(at, true)
  const put = (at: Path, node: Node): void => {
    if (at.length === 0) document.contents = node
    else document.setIn(at, node)
  }
  /** A place where something may be put: every step to it is a map, made where there is none. */
  const open = (at: Path): void => {
    for (let length = 0; length < at.length; length++) {
      const step = at.slice(0, length)
      const node = nodeAt(step)
      if (isMap(node)) continue
      if (!isNothing(node)) throw new Failure(`${path}: ${step.join('.')}: write it as a plain map`)
      put(step, document.createNode({}))
    }
  }
  return {
    has: (at) => document.hasIn(at),
    get: (at) =>
      at.reduce<unknown>((inner, step) => inside(inner, step), document.toJS()) ?? undefined,
    set(at, value) {
      open(at)
      put(at, document.createNode(value, Array.isArray(value) ? { flow: true } : {}))
    },
    put: (at, value) => document.setIn(at, value),
    add(at, item) {
      open(at)
      const list = nodeAt(at)
      if (isNothing(list)) put(at, document.createNode([]))
      else if (!isSeq(list)) throw new Failure(`${path}: ${at.join('.')}: write it as a plain list`)
      document.addIn(at, item)
    },
    remove: (at) => void document.deleteIn(at),
  }
}

const isNothing = (node: unknown): boolean =>
  node === null || node === undefined || (isScalar(node) && node.value === null)

const inside = (value: unknown, step: string): unknown =>
  typeof value === 'object' && value !== null && Object.hasOwn(value, step)
    ? (value as Record<string, unknown>)[step]
    : undefined

/** The file as the scheduler would have it, or a Failure. */
function resolved(value: unknown, path: string, otherwise: string): ConfigFile {
  const checked = configFile.safeParse(withoutEmpty(withPresentKeys(value ?? {}).file, []))
  const [first] = checked.success ? resolve(checked.data).contradictions : []
  if (checked.success && first === undefined) return checked.data
  const why = otherwise === AS_IT_STANDS || first === undefined ? '' : `: ${first}`
  throw new Failure(`${path}: ${otherwise}${why}; headgate doctor --config ${path} says why`)
}

/** A heading with nothing under it is as good as absent; a name with nothing under it is all defaults. */
function withoutEmpty(value: unknown, at: Path): unknown {
  if (Array.isArray(value) || typeof value !== 'object' || value === null) return value
  const isName = at.length === 1 && ['lanes', 'tenants', 'upstreams'].includes(at[0] ?? '')
  return Object.fromEntries(
    Object.entries(value).flatMap(([key, inner]): [string, unknown][] => {
      if (inner !== null) return [[key, withoutEmpty(inner, [...at, key])]]
      return isName && key !== 'unknown' ? [[key, {}]] : []
    }),
  )
}
