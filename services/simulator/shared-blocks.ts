/** What the calls of a Mooncake trace would mark with `cache_control`: the longest run of blocks from the beginning of
 *  the prompt that another call of the trace, an earlier or a later one, begins with too. So a caller is assumed to know
 *  what it will share; what nobody shares is never written. A run that is shorter than the provider caches is no mark.
 *
 *  Runs are nodes of a tree, one for each different beginning: its key is the run before it and the number of its last
 *  block, so that a number may mean a block alone or all that stands before it too (Mooncake's mean that). One pass
 *  builds the tree; each call keeps one node of it. Then marks are looked up from node to node.
 *  Bound: `NODES_MAX` different beginnings, 9 bytes each beside the index of them; of each marked
 *  run the `WITHIN_MAX` longest beginnings that others mark. */
import { BLOCK, BLOCK_ID_MAX } from '#contracts/mooncake-trace'
import type { Tokens } from '#contracts/units'
import { LEAST, type Beginning, type Marked } from './prompt-cache.ts'

/** Keys are exact so far: a node and a block number are one number below 2^53. */
export const NODES_MAX = 2 ** 21
/** So many blocks of content back the Messages API looks for what is cached. */
const WITHIN_MAX = 20

/** One call's blocks in the tree. */
export type Run = number
const ROOT: Run = 0

export class SharedBlocks {
  readonly #index = new Map<number, Run>()
  readonly #parent = new Int32Array(NODES_MAX)
  readonly #blocks = new Int32Array(NODES_MAX)
  /** Calls that begin with it: none, one, or more. */
  readonly #calls = new Uint8Array(NODES_MAX)
  readonly #marks = new Map<Run, Marked>()
  #nodes = 1

  /** Null: there are more different beginnings than fit. */
  add(blocks: readonly number[]): Run | null {
    let run = ROOT
    for (const block of blocks) {
      const next = this.#after(run, block)
      if (next === null) return null
      this.#calls[next] = Math.min(2, this.#calls[next]! + 1)
      run = next
    }
    return run
  }

  /** What each call marks, once all are added; in their order. */
  marks(calls: readonly { run: Run; input: Tokens }[]): (Marked | null)[] {
    const runs = calls.map(({ run, input }) => {
      const shared = this.#shared(run)
      const tokens = Math.min(BLOCK * this.#blocks[shared]!, input)
      if (tokens < LEAST) return null
      if (!this.#marks.has(shared)) this.#marks.set(shared, { name: `b${shared}`, tokens })
      return shared
    })
    for (const [run, marked] of this.#marks) {
      const within = this.#within(run)
      if (within.length > 0) marked.within = within
    }
    return runs.map((run) => (run === null ? null : (this.#marks.get(run) ?? null)))
  }

  #after(run: Run, block: number): Run | null {
    const key = run * (BLOCK_ID_MAX + 1) + block
    const found = this.#index.get(key)
    if (found !== undefined) return found
    if (this.#nodes === NODES_MAX) return null
    const made = this.#nodes++
    this.#index.set(key, made)
    this.#parent[made] = run
    this.#blocks[made] = this.#blocks[run]! + 1
    return made
  }

  /** The longest beginning of it that another call has too. */
  #shared(run: Run): Run {
    let at = run
    while (at !== ROOT && this.#calls[at]! < 2) at = this.#parent[at]!
    return at
  }

  #within(run: Run): Beginning[] {
    const found: Beginning[] = []
    for (let at = this.#parent[run]!; at !== ROOT; at = this.#parent[at]!) {
      const mark = this.#marks.get(at)
      if (mark === undefined) continue
      found.push({ name: mark.name, tokens: mark.tokens })
      if (found.length === WITHIN_MAX) break
    }
    return found
  }
}
