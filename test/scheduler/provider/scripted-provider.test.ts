import { expect, test } from 'vitest'
import { seededDice } from '#core/estimators/dice'
import {
  ANSWER,
  ERROR,
  EVENTS,
  USAGE,
  providerConformance,
  type Scene,
} from '../../conformance/provider.ts'
import { manualClock } from '../../support/manual-clock.ts'
import { rolledScript, scriptedProvider, type Act } from '../../support/scripted-provider.ts'

const TWO = EVENTS.slice(0, 2)
const acts: Record<Scene, Act> = {
  json: { end: { kind: 'ok', status: 200, usage: USAGE, body: Buffer.from(ANSWER) } },
  stream: { events: EVENTS, end: { kind: 'ok', status: 200, usage: USAGE } },
  overloaded: { end: { kind: 'overloaded', status: 529 } },
  throttled: { end: { kind: 'throttled', status: 429, retryAfterMs: 7_000 } },
  rejected: {
    end: {
      kind: 'rejected',
      status: 400,
      errorType: 'invalid_request_error',
      body: Buffer.from(ERROR),
    },
  },
  silent: { firstByteMs: Infinity },
  head_only: { endMs: Infinity },
  stalled: { events: TWO, endMs: Infinity },
  cut: { events: TWO, end: { kind: 'cut', usage: { ...USAGE, outputTokens: 1 } } },
  overloaded_midway: { events: TWO, end: { kind: 'cut_overloaded' } },
  overloaded_first: { end: { kind: 'overloaded', errorType: 'overloaded_error' } },
}

providerConformance('scripted', async (scene) => {
  const clock = manualClock()
  const provider = scriptedProvider({ clock, script: () => acts[scene] })
  return {
    provider,
    clock,
    url: 'http://scripted',
    reached: () => Promise.resolve(),
    stop: () => provider.close(),
  }
})

test('a rolled script is the same for the same seed', () => {
  const mix = [
    { weight: 3, act: acts.json },
    { weight: 1, act: acts.overloaded },
  ]
  const roll = (seed: number): Act[] => {
    const next = rolledScript(seededDice(seed), mix)
    return Array.from({ length: 20 }, () => next())
  }
  expect(roll(7)).toEqual(roll(7))
  expect(new Set(roll(7))).toEqual(new Set([acts.json, acts.overloaded]))
})
