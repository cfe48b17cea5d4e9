/** Numbers that know what they measure. Plain aliases: arithmetic stays arithmetic, and the name says
 *  the unit where a number crosses a border. */

/** Milliseconds: a duration, or an instant on the monotonic clock of one process. */
export type Millis = number
/** Seconds, where a law is written in them (virtual time, slot-seconds). */
export type Seconds = number
/** Tokens as the upstream counts them. */
export type Tokens = number
/** The plain guess before an upstream has counted (control-laws §3). */
export const CHARS_PER_TOKEN = 3.5

export const hours = (n: number): Millis => n * 3_600_000
