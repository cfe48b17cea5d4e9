/** What a machine needs at its start, for who runs one without a Headgate: defaults and ranges are those of
 *  the configuration, and a value outside them is refused. */
import { configFile, resolve, type Config } from '#contracts/config'
import type { Millis } from '#contracts/units'
import type { LimitSettings } from './aimd.ts'
import type { BreakerInput, BreakerSettings } from './breaker.ts'
import type { LimitInput } from './concurrency-limit.ts'

/** The breaker's input. Chance has no default: pass `Math.random`, or seeded dice in a test. */
export function breakerInput(
  of: Partial<BreakerSettings> & {
    /** Uniform in [0, 1). */
    random: () => number
  },
): BreakerInput {
  const config = configOf('circuit_breaker', [
    ['threshold', 'error_rate_threshold', of.threshold],
    ['windowMs', 'window_seconds', inSeconds(of.windowMs)],
    ['minSamples', 'min_samples', of.minSamples],
    ['openMs', 'open_seconds', inSeconds(of.openMs)],
    ['probeRatio', 'half_open_probe_ratio', of.probeRatio],
  ])
  return { settings: config.breaker, random: of.random }
}

/** The concurrency limit's input. A floor above `initial` is lowered to it. */
export function limitInput(
  of: Partial<LimitSettings> & {
    /** When it starts, on the clock that its events' `at` are read from. */
    at: Millis
  },
): LimitInput {
  const config = configOf('concurrency_limit', [
    ['mode', 'mode', of.mode],
    ['initial', 'initial', of.initial],
    ['floor', 'floor', of.floor],
    ['ceiling', 'ceiling', of.ceiling],
    ['windowMs', 'window_seconds', inSeconds(of.windowMs)],
  ])
  const { mode, ceiling, window_seconds } = config.file.concurrency_limit
  const { initial, floor } = config.routeDefaults
  return {
    settings: { mode, initial, floor, ceiling, windowMs: window_seconds * 1_000 },
    at: of.at,
  }
}

const inSeconds = (ms: Millis | undefined): number | undefined =>
  ms === undefined ? undefined : ms / 1_000

/** A configuration of defaults and these; each is our name, the file's name, and a value or undefined. */
function configOf(
  section: 'circuit_breaker' | 'concurrency_limit',
  given: readonly (readonly [name: string, key: string, value: unknown])[],
): Config {
  const said = Object.fromEntries(
    given.filter(([, , value]) => value !== undefined).map(([, key, value]) => [key, value]),
  )
  const file =
    section === 'circuit_breaker' ? { llm_gateway: { [section]: said } } : { [section]: said }
  const parsed = configFile.safeParse(file)
  if (!parsed.success) {
    const wrong = parsed.error.issues.map(({ path, message }) => {
      const name = given.find(([, key]) => key === path.at(-1))?.[0]
      return `${name} (${path.join('.')} of the configuration): ${message}`
    })
    throw new RangeError(wrong.join('; '))
  }
  const { config, contradictions } = resolve(parsed.data)
  if (contradictions.length > 0) throw new RangeError(contradictions.join('; '))
  return config
}
