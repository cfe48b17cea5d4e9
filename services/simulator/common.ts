/** The common setting of control-laws §17, and configurations on top of it. */
import { configFile, resolve, type Config } from '#contracts/config'

/** Common setting of §17. d_est starts at the mean service of an interactive call. */
export const COMMON = {
  llm_gateway: { max_inflight_global: 60 },
  concurrency_limit: { initial: 60, ceiling: 60 },
  priors: { ttft_ms: 1, tokens_per_s: 60, output_tokens: 360 },
  lanes: {
    premium: { timeout_ms: 86_400_000 },
    interactive: { timeout_ms: 86_400_000 },
    batch: { timeout_ms: 86_400_000 },
  },
} as const

export type Tree = { [key: string]: unknown }

/** The common setting of the scenarios with what a part says on top. */
export function configOf(own: Tree): Config {
  return shippedConfig(over(COMMON, own))
}

/** What Headgate ships with, and what a part says on top. */
export function shippedConfig(own: Tree): Config {
  const { config, contradictions } = resolve(configFile.parse(own))
  if (contradictions.length > 0) throw new Error(contradictions.join('; '))
  return config
}

function over(base: Tree, own: Tree): Tree {
  const merged: Tree = { ...base }
  for (const [key, value] of Object.entries(own)) {
    const below = merged[key]
    merged[key] = isTree(below) && isTree(value) ? over(below, value) : value
  }
  return merged
}

const isTree = (value: unknown): value is Tree =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
