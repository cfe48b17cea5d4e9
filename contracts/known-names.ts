/** What was meant by a name that nobody knows. */

/** The nearest by edit distance, case aside, if at most a third of the letters differ. */
export function nearest(name: string, known: readonly string[]): string | null {
  const asked = name.slice(0, NAME_CHARS_MAX).toLowerCase()
  let best: { name: string; distance: number } | null = null
  for (const one of known) {
    const distance = edits(asked, one.toLowerCase())
    if (best === null || distance < best.distance) best = { name: one, distance }
  }
  return best !== null && best.distance <= Math.max(1, Math.floor(best.name.length / 3))
    ? best.name
    : null
}

/** No name of ours is as long. */
const NAME_CHARS_MAX = 64

/** Which name was meant, else which there are. */
export function meant(name: string, known: readonly string[]): string {
  const near = nearest(name, known)
  return near === null ? `there are ${known.join(', ')}` : `did you mean ${near}?`
}

/** Each option that a function of ours knows; the compiler holds the list complete. */
export type OptionNames<Options> = Readonly<Record<keyof Options, true>>

/** An option that is not heard would be one that nobody misses until it counts. Throws a TypeError. */
export function checkOptionNames(of: {
  /** The function, as its caller writes it. */
  where: string
  given: unknown
  known: Readonly<Record<string, true>>
}): void {
  const { where, given, known } = of
  if (given === undefined) return
  if (typeof given !== 'object' || given === null || Array.isArray(given))
    throw new TypeError(`${where}: options: expected an object`)
  for (const name of Object.keys(given))
    if (!Object.hasOwn(known, name))
      throw new TypeError(`${where}: no option ${name}; ${meant(name, Object.keys(known))}`)
}

/** Levenshtein (Wagner and Fischer 1974), two rows. */
function edits(a: string, b: string): number {
  let above = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const swap = (above[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1)
      row.push(Math.min(swap, (above[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1))
    }
    above = row
  }
  return above[b.length] ?? 0
}
