/** Values of the options of `headgate simulate`, each checked on its own. */
import { InvalidArgumentError } from 'commander'
import { isToken, MODEL, TOKEN_SHAPE } from '#contracts/ids'
import type { Seconds } from '#contracts/units'
import type { Restart, TraceJob } from '#simulator/job'

export type LaneShare = TraceJob['lanes'][number]
export type Storm = NonNullable<TraceJob['storm']>

/** Shares that are written with six digits. */
const SUM_ERROR_MAX = 1e-6
const LANES_MAX = 16
const SECONDS_MAX = 1e9
const RESTARTS_MAX = 100
/** A process is away for so long unless it is said: about as long as one takes to come back. */
const AWAY_S = 5
/** Until another instance stands in the place of one that was killed: about as long as a container takes. It is not
 *  there before the connections of the dead are closed. */
const PLACE = { s: 10, least: 0.1 }

const NUMBER = /^\d+(\.\d+)?$/

/** One of these words. */
export function among<const Word extends string>(words: readonly Word[]) {
  const said = words.join(', ')
  const one = (text: string): Word => {
    const found = words.find((word) => word === text)
    if (found !== undefined) return found
    throw new InvalidArgumentError(`expected one of ${said}`)
  }
  return Object.assign(one, { words: said })
}

/** An option that may be given again. */
export const collected =
  <Value>(parse: (text: string) => Value) =>
  (text: string, before: Value[]): Value[] => [...before, parse(text)]

export const numberFrom =
  (min: number, max: number) =>
  (text: string): number => {
    const value = Number(text)
    if (NUMBER.test(text) && value >= min && value <= max) return value
    throw new InvalidArgumentError(`expected a number from ${min} to ${max}`)
  }

export const wholeFrom =
  (min: number, max: number) =>
  (text: string): number => {
    const value = Number(text)
    if (/^\d+$/.test(text) && value >= min && value <= max) return value
    throw new InvalidArgumentError(`expected a whole number from ${min} to ${max}`)
  }

/** `premium=0.2,interactive=0.5,batch=0.3`. */
export function lanesOf(text: string): LaneShare[] {
  const lanes = text.split(',').map((part) => {
    const [name = '', share = '', ...more] = part.split('=')
    if (!isToken(name) || !NUMBER.test(share) || Number(share) > 1 || more.length > 0)
      throw new InvalidArgumentError(
        `expected NAME=SHARE,… with names of ${TOKEN_SHAPE} and shares from 0 to 1, as premium=0.2,batch=0.8`,
      )
    return { name, share: Number(share) }
  })
  if (lanes.length > LANES_MAX) throw new InvalidArgumentError(`at most ${LANES_MAX} lanes`)
  if (new Set(lanes.map(({ name }) => name)).size < lanes.length)
    throw new InvalidArgumentError('a lane stands twice')
  const sum = lanes.reduce((total, { share }) => total + share, 0)
  if (Math.abs(sum - 1) > SUM_ERROR_MAX)
    throw new InvalidArgumentError(
      `the shares must add up to 1; they are ${Number(sum.toFixed(6))}`,
    )
  return lanes
}

/** `FROM:FOR`, in seconds. */
export function stormOf(text: string): Storm {
  const [from = '', length = '', ...more] = text.split(':')
  const [fromS, forS] = [Number(from), Number(length)]
  const wellFormed = NUMBER.test(from) && NUMBER.test(length) && more.length === 0
  if (wellFormed && forS > 0 && fromS < SECONDS_MAX && forS < SECONDS_MAX) return { fromS, forS }
  throw new InvalidArgumentError('expected FROM:FOR in seconds, FOR above 0, as 300:120')
}

/** `AT,…` or `AT:FOR,…`, in seconds. */
export function restartsOf(text: string): Restart[] {
  const restarts = deathsOf(text, { away: AWAY_S, least: null, what: 'restarts' })
  for (const [at, { atS }] of restarts.entries()) {
    const before = restarts[at - 1]
    if (before !== undefined && atS < before.atS + before.forS)
      throw new InvalidArgumentError(
        `one after the other: at ${atS} s the process of ${before.atS} s is not back, or was not yet gone`,
      )
  }
  return restarts
}

/** The same, in any order: each is of another process. */
export const killsOf = (text: string): Restart[] =>
  deathsOf(text, { away: PLACE.s, least: PLACE.least, what: 'kills' }).toSorted(
    (a, b) => a.atS - b.atS,
  )

/** `least`: of FOR; null: above 0. */
function deathsOf(
  text: string,
  of: { away: Seconds; least: Seconds | null; what: string },
): Restart[] {
  const least = of.least === null ? 'above 0' : `at least ${of.least}`
  const deaths = text.split(',').map((part) => {
    const [at = '', away = String(of.away), ...more] = part.split(':')
    const [atS, forS] = [Number(at), Number(away)]
    const wellFormed = NUMBER.test(at) && NUMBER.test(away) && more.length === 0
    const enough = forS > 0 && forS >= (of.least ?? 0)
    if (wellFormed && enough && atS < SECONDS_MAX && forS < SECONDS_MAX) return { atS, forS }
    throw new InvalidArgumentError(
      `expected AT or AT:FOR in seconds, FOR ${least} and ${of.away} if absent, as 600,1200:30`,
    )
  })
  if (deaths.length > RESTARTS_MAX)
    throw new InvalidArgumentError(`at most ${RESTARTS_MAX} ${of.what}`)
  return deaths
}

export function modelOf(text: string): string {
  if (MODEL.test(text)) return text
  throw new InvalidArgumentError('expected the name of a model, as claude-sonnet-4-5')
}

/** A name as the wire has it. */
export function tokenOf(text: string): string {
  if (isToken(text)) return text
  throw new InvalidArgumentError(`expected ${TOKEN_SHAPE}`)
}
