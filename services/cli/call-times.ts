/** How long a call may take or wait, as options say it: the contract's bounds. */
import { DEADLINE_MAX_MS } from '#contracts/messages'
import { whole } from './terminal.ts'

export const deadlineMs = (text: string): number =>
  whole({ text, min: 1, max: DEADLINE_MAX_MS, what: `milliseconds from 1 to ${DEADLINE_MAX_MS}` })
export const notBeforeMs = (text: string): number =>
  whole({ text, min: 0, max: DEADLINE_MAX_MS, what: `milliseconds from 0 to ${DEADLINE_MAX_MS}` })
