/** What is different between two configurations, by the names of knobs: never a value, which may be a secret. */
import type { ChangeTakes, ConfigFile } from '#contracts/config'
import { knobs } from './knobs.ts'
import { written } from './load.ts'

/** More names than these help nobody. */
const TOLD_MAX = 12

/** `llm_gateway.max_inflight_global, tenants.acme`; empty where nothing changed that counts. */
export const changedKnobs = (before: ConfigFile, after: ConfigFile): string =>
  listed([...differences(before, after, [])])

/** A dozen of the names, and how many more there are. */
export function listed(names: readonly string[]): string {
  const told = names.slice(0, TOLD_MAX).join(', ')
  return names.length > TOLD_MAX ? `${told} and ${names.length - TOLD_MAX} more` : told
}

/** The paths of the knobs that differ and whose change takes this. Keys count as a set. Of upstreams their names
 *  and order count too: the first one serves every model without a route. */
export function changesThatTake(
  takes: ChangeTakes,
  { before, after }: { before: ConfigFile; after: ConfigFile },
): string[] {
  const found = knobs()
    .filter((knob) => knob.takes === takes)
    .flatMap((knob) => {
      const read = (of: unknown, path: Path): string => {
        const value = path.reduce(valueOf, of) ?? knob.default
        return JSON.stringify(Array.isArray(value) ? value.toSorted() : value) ?? ''
      }
      return pathsOf(knob.path, [before, after])
        .filter((path) => read(before, path) !== read(after, path))
        .map(written)
    })
  const names = (of: ConfigFile): string => Object.keys(of.upstreams).join()
  if (takes === 'file' && names(before) !== names(after)) found.push('upstreams')
  return found
}

/** What is in force after a changed file: all that it says, but what is read at a start and never again. */
export function afterStart(started: ConfigFile, next: ConfigFile): ConfigFile {
  const kept = structuredClone(next)
  for (const knob of knobs()) {
    if (knob.takes !== 'restart') continue
    const path = knob.path.split('.')
    const section = path.slice(0, -1).reduce(valueOf, kept) as Record<string, unknown>
    section[path.at(-1)!] = path.reduce<unknown>(valueOf, started)
  }
  return kept
}

type Path = readonly string[]

/** The paths that a knob's stands for in these files: `tenants.<name>.keys` is one for each tenant of them. */
function pathsOf(pattern: string, files: readonly unknown[]): Path[] {
  const cut = pattern.indexOf('.<name>')
  if (cut < 0) return [pattern.split('.')]
  const head = pattern.slice(0, cut).split('.')
  const tail = pattern.slice(cut + '.<name>.'.length).split('.')
  const names = files.flatMap((of) => Object.keys(head.reduce(valueOf, of) ?? {}))
  return [...new Set(names)].map((name) => [...head, name, ...tail])
}

function* differences(
  before: unknown,
  after: unknown,
  path: readonly string[],
): Generator<string, void, undefined> {
  if (isMap(before) && isMap(after) && path.length < depthOf(path)) {
    for (const key of new Set([...Object.keys(before), ...Object.keys(after)]))
      yield* differences(valueOf(before, key), valueOf(after, key), [...path, key])
  } else if (JSON.stringify(before) !== JSON.stringify(after)) yield path.join('.')
}

/** A tenant is told by its name: what is in it may be a key. */
const depthOf = ([section]: readonly string[]): number => (section === 'tenants' ? 2 : 4)

const isMap = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const valueOf = (of: unknown, key: string): unknown =>
  isMap(of) && Object.hasOwn(of, key) ? of[key] : undefined
