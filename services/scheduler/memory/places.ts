/** Places in a store, in order: what is put in later has a larger one. Work is done at the front, so that taking a
 *  place out moves the shorter side of it. */
export class Places {
  readonly #list: number[] = []
  /** Where the first one stands; what is before it is gone. */
  #first = 0

  get size(): number {
    return this.#list.length - this.#first
  }

  /** Larger than all there are. */
  push(place: number): void {
    this.#list.push(place)
  }

  drop(place: number): void {
    const at = this.#from(place)
    if (this.#list[at] !== place) return
    const before = at - this.#first
    if (before > this.#list.length - at) return void this.#list.splice(at, 1)
    for (let i = at; i > this.#first; i--) this.#list[i] = this.#list[i - 1]!
    this.#first++
    if (this.#first > this.#list.length / 2) {
      this.#list.splice(0, this.#first)
      this.#first = 0
    }
  }

  /** The first that is not before `place`, and how many stand behind it. */
  next(place: number): { place: number; behind: number } | null {
    const at = this.#from(place)
    const found = this.#list[at]
    return found === undefined ? null : { place: found, behind: this.#list.length - at - 1 }
  }

  /** All that are not before `place`, as they stand while they are asked for. */
  *from(place: number): Generator<number> {
    for (let at = this.#from(place); at < this.#list.length; at++) yield this.#list[at]!
  }

  /** Index of the first that is not before `place`. */
  #from(place: number): number {
    let low = this.#first
    let high = this.#list.length
    while (low < high) {
      const middle = (low + high) >> 1
      if (this.#list[middle]! < place) low = middle + 1
      else high = middle
    }
    return low
  }
}
