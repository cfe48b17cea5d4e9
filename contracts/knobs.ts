/** How a knob of the configuration is written: schema, default, unit, range, why and source, in one place. */
import { z } from 'zod'
import { MODEL, MODEL_SHAPE, TOKEN, TOKEN_SHAPE } from './ids.ts'
import type { Millis } from './units.ts'

/** What it takes to change a knob. `restart`: it is read at the start, and never again. `file`: it is an address,
 *  or names a secret; a changed file puts it in force at once, and a text that an operator sends may not. Absent:
 *  a changed file or an operator's text. */
export type ChangeTakes = 'restart' | 'file'

interface Doc {
  unit?: string
  why: string
  source: string
  takes?: ChangeTakes
}

export const knob = <S extends z.ZodType>(schema: S, doc: Doc) => schema.meta({ ...doc })

export const LAWS = 'control-laws'
export const WIRE = 'wire-contract'
export const ASKED = 'requirements'

export const ms = (range: { default: Millis; min: Millis; max: Millis } & Doc) =>
  knob(z.int().min(range.min).max(range.max).default(range.default), {
    ...docOf(range),
    unit: 'ms',
  })
export const int = (range: { default: number; min: number; max: number } & Doc) =>
  knob(z.int().min(range.min).max(range.max).default(range.default), docOf(range))
export const real = (range: { default: number; min: number; max: number } & Doc) =>
  knob(z.number().min(range.min).max(range.max).default(range.default), docOf(range))
const docOf = ({ unit, why, source, takes }: Doc): Doc => ({
  ...(unit === undefined ? {} : { unit }),
  ...{ why, source },
  ...(takes === undefined ? {} : { takes }),
})

/** The names that knobs hold. */
export const token = z.string().regex(TOKEN, { error: `expected ${TOKEN_SHAPE}` })
export const model = z.string().regex(MODEL, { error: `expected ${MODEL_SHAPE}` })
