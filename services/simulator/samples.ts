/** Every value of a figure, kept to the end, so that a percentile is a fact and not an estimate. */
export class Samples {
  #values = new Float64Array(1_024)
  #length = 0

  push(value: number): void {
    if (this.#length === this.#values.length) {
      const grown = new Float64Array(2 * this.#length)
      grown.set(this.#values)
      this.#values = grown
    }
    this.#values[this.#length++] = value
  }

  get length(): number {
    return this.#length
  }

  at(index: number): number {
    return this.#values[index]!
  }

  /** Nearest rank; null without samples. */
  quantile(p: number): number | null {
    return quantileOf(this.#values.slice(0, this.#length).sort(), p)
  }

  view(): Float64Array {
    return this.#values.subarray(0, this.#length)
  }
}

export function quantileOf(sorted: ArrayLike<number>, p: number): number | null {
  if (sorted.length === 0) return null
  return sorted[Math.max(0, Math.ceil(p * sorted.length) - 1)]!
}

/** The same over several runs. */
export function pooled(all: readonly Samples[]): Samples {
  const one = new Samples()
  for (const samples of all) for (const value of samples.view()) one.push(value)
  return one
}
