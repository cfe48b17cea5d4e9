/** A fingerprint of everything that happened, in order: 64 bits in two words, each a multiply-and-rotate
 *  over what is added (after MurmurHash3, A. Appleby, public domain). For telling runs apart, not for secrets. */
export class TraceHash {
  #a = 0x2545f491
  #b = 0x9e3779b9

  add(kind: number, at: number, who: number): void {
    const word = Math.imul(at ^ (kind << 28), 0xcc9e2d51) ^ Math.imul(who, 0x1b873593)
    this.#a = mix(this.#a, word)
    this.#b = mix(this.#b, word ^ 0x5bd1e995)
  }

  get text(): string {
    return hex(this.#a) + hex(this.#b)
  }
}

function mix(hash: number, word: number): number {
  const k = hash ^ Math.imul(word, 0xcc9e2d51)
  return (Math.imul((k << 13) | (k >>> 19), 5) + 0xe6546b64) | 0
}

const hex = (word: number): string => (word >>> 0).toString(16).padStart(8, '0')
