/** What one scheduler tells another, and the store, of what an operator switched. */
import { z } from 'zod'
import type { Millis } from './units.ts'

/** Of a value, in characters: every lane by name, and more than enough. */
const VALUE_CHARS_MAX = 65_536

export interface SwitchWord {
  value: string
  /** Milliseconds since 1970, as the instance had it that was asked. */
  at: Millis
}

const word = z.object({
  value: z.string().max(VALUE_CHARS_MAX),
  at: z.number().min(0).max(Number.MAX_SAFE_INTEGER),
})
const telling = word.extend({ key: z.string().max(64), from: z.string().max(64) })
const heardBy = z.object({ instance: z.string().min(1).max(64) })

/** A stored word; plain text, as older versions and people write it, is one of `plainAt`. Null: nothing there. */
export function readStoredWord(text: string | null, plainAt: Millis): SwitchWord | null {
  if (text === null) return null
  const full = word.safeParse(jsonOf(text))
  if (full.success) return full.data
  return text.length <= VALUE_CHARS_MAX ? { value: text, at: plainAt } : null
}

/** Null: not what a scheduler says. */
export function readPeerWord(data: Uint8Array): z.infer<typeof telling> | null {
  return telling.safeParse(jsonOf(Buffer.from(data).toString())).data ?? null
}

/** The instance that has obeyed; null: not what a scheduler says. */
export function readPeerAnswer(data: Uint8Array): string | null {
  return heardBy.safeParse(jsonOf(Buffer.from(data).toString())).data?.instance ?? null
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
