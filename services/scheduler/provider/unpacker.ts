/** Takes the content codings off an answer: gzip, deflate (with zlib's frame or bare), br and zstd, one upon
 *  the other too. We ask for none, but proxies pack unasked, forget the header, or leave it on what they have
 *  unpacked; so where the bytes can tell (gzip and zstd have marks), the bytes are believed. A coding that
 *  nobody knows is left on; what it hides then makes no sense to whoever reads it.
 *  Of zstd the first frame is read, as the library does: what should come in a second one is missing then.
 *  Bounds: whoever listens counts what comes out and stops it; what lies between two codings waits. */
import zlib from 'node:zlib'
import { GatheredBytes } from './gathered-bytes.ts'

interface Options {
  /** The answer's `content-encoding`; null: none. */
  coding: string | null
  on: {
    bytes(piece: Buffer): void
    /** They cannot be unpacked; nothing more comes. */
    garbled(): void
  }
}

/** More codings than this upon each other are nobody's honest answer. */
const CODINGS_MAX = 4
/** Bytes that show which coding it is. */
const SHOWN = 6
const PIECE_BYTES = 65_536
/** 8 MB, what RFC 9659 allows a content coding; the library's own limit is 128 MB for each answer. */
const ZSTD_WINDOW_LOG_MAX = 23
const GZIP = [0x1f, 0x8b]
const ZSTD = [0x28, 0xb5, 0x2f, 0xfd]
/** As an answer of ours begins that was never packed. */
const PLAIN = /^(\{"|\{\s|event:|data:)/

type Coding = 'gzip' | 'deflate' | 'bare_deflate' | 'br' | 'zstd'

const NAMES: Readonly<Record<string, Coding>> = {
  gzip: 'gzip',
  'x-gzip': 'gzip',
  deflate: 'deflate',
  br: 'br',
  zstd: 'zstd',
}

export class Unpacker {
  readonly #on: Options['on']
  readonly #named: readonly string[]
  readonly #head = new GatheredBytes()
  #way: 'unknown' | 'plain' | 'packed' = 'unknown'
  #chain: zlib.Gunzip[] = []
  #over: 'whole' | 'garbled' | null = null
  #then: ((whole: boolean) => void) | null = null

  constructor({ coding, on }: Options) {
    this.#on = on
    const named = (coding ?? '').toLowerCase().split(',')
    this.#named = named
      .map((name) => name.trim())
      .filter((name) => name !== '' && name !== 'identity')
  }

  write(piece: Buffer): void {
    if (this.#over !== null) return
    if (this.#way === 'plain') return this.#on.bytes(piece)
    if (this.#way === 'packed') return this.#pack(piece)
    if (this.#named.length === 0 && this.#head.length === 0 && !mayBeMark(piece)) {
      this.#way = 'plain'
      return this.#on.bytes(piece)
    }
    this.#head.push(piece)
    if (this.#head.length >= SHOWN) this.#decide()
  }

  /** No more comes. Calls once, when all that could be unpacked was told; false: something is missing. */
  end(then: (whole: boolean) => void): void {
    if (this.#over === null && this.#way === 'unknown') this.#decide()
    if (this.#over !== null) return then(this.#over === 'whole')
    if (this.#way === 'plain') return then(true)
    this.#then = then
    this.#chain[0]?.end()
  }

  /** Nobody listens any more. */
  stop(): void {
    this.#over ??= 'garbled'
    this.#then = null
    for (const link of this.#chain) link.destroy()
  }

  #pack(piece: Buffer): void {
    if (this.#over === null) this.#chain[0]?.write(piece)
  }

  #decide(): void {
    const head = this.#head.take()
    const codings = codingsOf(head, this.#named)
    if (codings.length === 0) {
      this.#way = 'plain'
      if (head.length > 0) this.#on.bytes(head)
      return
    }
    this.#way = 'packed'
    this.#open(codings)
    this.#pack(head)
  }

  #open(codings: readonly Coding[]): void {
    this.#chain = codings.map(unpacking)
    for (const [index, link] of this.#chain.entries()) {
      link.on('error', () => this.#end('garbled'))
      const next = this.#chain[index + 1]
      if (next !== undefined) link.pipe(next)
      else
        link
          .on('data', (piece: Buffer) => this.#on.bytes(piece))
          .on('end', () => this.#end('whole'))
    }
  }

  #end(how: 'whole' | 'garbled'): void {
    if (this.#over !== null) return
    this.#over = how
    const then = this.#then
    if (how === 'garbled') for (const link of this.#chain) link.destroy()
    if (then !== null) then(how === 'whole')
    else if (how === 'garbled') this.#on.garbled()
  }
}

/** What lies on the bytes, the outermost first. */
function codingsOf(head: Buffer, named: readonly string[]): Coding[] {
  if (begins(head, GZIP) && named.length === 0) return ['gzip']
  if (begins(head, ZSTD) && named.length === 0) return ['zstd']
  const codings = named
    .map((name) => (Object.hasOwn(NAMES, name) ? NAMES[name] : undefined))
    .reverse()
  const outer = codings[0]
  const stale =
    (outer === 'gzip' && !begins(head, GZIP)) ||
    (outer === 'zstd' && !begins(head, ZSTD)) ||
    PLAIN.test(head.toString('latin1', 0, SHOWN))
  if (stale || codings.length > CODINGS_MAX || codings.includes(undefined)) return []
  const known = codings.filter((coding) => coding !== undefined)
  if (outer === 'deflate' && !zlibFramed(head)) known[0] = 'bare_deflate'
  return known
}

const begins = (head: Buffer, mark: readonly number[]): boolean =>
  mark.every((byte, index) => head[index] === byte)

/** Both are sent under the name `deflate`. */
const zlibFramed = (head: Buffer): boolean =>
  ((head[0] ?? 0) & 0x0f) === 8 && (((head[0] ?? 0) << 8) | (head[1] ?? 0)) % 31 === 0

const mayBeMark = (piece: Buffer): boolean => piece[0] === GZIP[0] || piece[0] === ZSTD[0]

/** What is there comes out at once: an event must not wait for the one behind it. */
function unpacking(coding: Coding): zlib.Gunzip {
  const { Z_SYNC_FLUSH, BROTLI_OPERATION_FLUSH, ZSTD_e_flush, ZSTD_d_windowLogMax } = zlib.constants
  const chunkSize = PIECE_BYTES
  switch (coding) {
    case 'gzip':
      return zlib.createGunzip({ flush: Z_SYNC_FLUSH, chunkSize })
    case 'deflate':
      return zlib.createInflate({ flush: Z_SYNC_FLUSH, chunkSize })
    case 'bare_deflate':
      return zlib.createInflateRaw({ flush: Z_SYNC_FLUSH, chunkSize })
    case 'br':
      return zlib.createBrotliDecompress({ flush: BROTLI_OPERATION_FLUSH, chunkSize })
    case 'zstd':
      return zlib.createZstdDecompress({
        flush: ZSTD_e_flush,
        chunkSize,
        params: { [ZSTD_d_windowLogMax]: ZSTD_WINDOW_LOG_MAX },
      })
  }
}
