/** Mutants as they are drawn, told and remembered. */
import { seededDice } from '#core/estimators/dice'
import { isProgram, lineOf, mutated, placesOf, type Place } from './mutate.ts'

export interface Mutant {
  file: string
  line: number
  /** The line, or lines, as they are and as the mutant has them. */
  was: string
  now: string
  operator: string
  source: string
}

/** Known by what it changes, so that it stays the same when lines move. */
export const nameOf = ({ file, was, now }: Pick<Mutant, 'file' | 'was' | 'now'>): string =>
  JSON.stringify([file, was, now])

/** All of a file that are programs by their syntax. */
export const mutantsOf = (file: string, source: string): Mutant[] =>
  placesOf(source)
    .map((place) => mutantAt(file, source, place))
    .filter((one) => isProgram(one.source))

function mutantAt(file: string, source: string, place: Place): Mutant {
  const changed = mutated(source, place)
  const { line, text: was } = lineOf(source, place.at, place.length)
  const { text: now } = lineOf(changed, place.at, place.by.length)
  return { file, line, was, now, operator: place.operator, source: changed }
}

/** As many of them, any as likely as another, in the order in which they stand. */
export function drawn<Item>(all: readonly Item[], count: number, seed: number): Item[] {
  const dice = seededDice(seed)
  const left = all.map((item, at) => ({ item, at }))
  const picked = Array.from({ length: Math.min(count, all.length) }, () => {
    const [one] = left.splice(Math.floor(dice.next() * left.length), 1)
    return one!
  })
  return picked.toSorted((a, b) => a.at - b.at).map(({ item }) => item)
}
