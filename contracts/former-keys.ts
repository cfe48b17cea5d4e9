/** Keys of `headgate.yaml` that have another name now. A file may still use the former one, and whoever reads it tells the
 *  present one; nothing else of ours knows a former name. */

/** Of `lanes.<name>`: former, present. */
const LANE_KEYS = { hold: 'reserved_slots', trickle: 'minimum_share' } as const

/** What a program that was written for the former names may still say. */
export interface FormerLaneKeys {
  /** @deprecated Use `reserved_slots`. */
  hold?: number | undefined
  /** @deprecated Use `minimum_share`. */
  trickle?: number | undefined
}

export interface FormerKey {
  /** Of the map that it stands in. */
  path: readonly string[]
  former: string
  present: string
  /** Both stand there, and none of them wins. */
  twice: boolean
}

/** The file with present names, and the former ones that were in it. Where both stand, the file is left as it is. */
export function withPresentKeys(file: unknown): { file: unknown; found: FormerKey[] } {
  const found: FormerKey[] = []
  if (!isMap(file) || !isMap(file['lanes'])) return { file, found }
  const lanes = Object.entries(file['lanes']).map(([name, lane]) => [
    name,
    isMap(lane) ? renamed(lane, ['lanes', name], found) : lane,
  ])
  return { file: { ...file, lanes: Object.fromEntries(lanes) }, found }
}

function renamed(
  lane: Record<string, unknown>,
  path: readonly string[],
  found: FormerKey[],
): Record<string, unknown> {
  const keys: Readonly<Record<string, string>> = LANE_KEYS
  return Object.fromEntries(
    Object.entries(lane).map(([key, value]) => {
      const present = Object.hasOwn(keys, key) ? keys[key] : undefined
      if (present === undefined) return [key, value]
      const twice = Object.hasOwn(lane, present)
      found.push({ path, former: key, present, twice })
      return [twice ? key : present, value]
    }),
  )
}

const isMap = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
