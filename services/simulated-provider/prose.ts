/** The simulated model's words. One word is one token; some hold characters of several bytes, so that
 *  a reader that cuts text at bytes shows itself. Nothing here needs escaping in JSON. */
import type { Tokens } from '#contracts/units'

const WORDS = (
  'The river brings more than the canal can carry , so the headgate opens by degrees and each field ' +
  'is watered in its turn . Señora Núñez keeps the book : who drew water , when , and how long . 水 runs ' +
  'downhill — always — and the gate only chooses the hour 🌊 . '
).split(/(?<= )/)

const ROUND = WORDS.join('')
const offsets = WORDS.reduce<number[]>((at, word) => [...at, (at.at(-1) ?? 0) + word.length], [0])

/** The words from token `from` up to, not including, token `to`. */
export function prose(from: Tokens, to: Tokens): string {
  const rounds = Math.floor(to / WORDS.length) - Math.floor(from / WORDS.length)
  const start = offsets[from % WORDS.length] ?? 0
  const end = offsets[to % WORDS.length] ?? 0
  return rounds === 0
    ? ROUND.slice(start, end)
    : ROUND.slice(start) + ROUND.repeat(rounds - 1) + ROUND.slice(0, end)
}
