/** What became of prompts that calls share: for all policies alike, since the provider tells it. */
import type { Tokens } from '#contracts/units'
import type { Run } from './figures.ts'
import type { Prompts } from './tally.ts'

/** In input prices, as of all models that keep prompts for 5 minutes. */
const PRICE = { write: 1.25, read: 0.1 }

/** Sums over all seeds; nothing where nothing was written to the cache. `input_paid_tokens` is what all input costs, as
 *  plain input tokens that would cost the same. */
export function cacheFigures(run: Run): Record<string, number> {
  const written = run.sum(({ prompts }) => prompts.written)
  if (written === 0) return {}
  return {
    cache_written_tokens: written,
    cache_read_tokens: run.sum(({ prompts }) => prompts.read),
    prefix_saved_tokens: savedTokens(run),
    input_paid_tokens: inputPaid(run),
  }
}

export const inputPaid = (run: Run): Tokens => run.sum(({ prompts }) => paidFor(prompts))

/** Read by calls that had waited for another to write it; 0 by policies in which nobody does. */
function savedTokens(run: Run): Tokens {
  let sum = 0
  for (const { facts } of run.all) for (const { saved } of facts.spent?.values() ?? []) sum += saved
  return sum
}

const paidFor = ({ fresh, written, read }: Prompts): Tokens =>
  fresh + written * PRICE.write + read * PRICE.read
