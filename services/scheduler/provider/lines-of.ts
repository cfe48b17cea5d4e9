/** The lines of a body that comes in pieces; empty ones are left out, and the last one needs no end. A body that is
 *  cut fails, and half a line is none. */
import { GatheredBytes } from './gathered-bytes.ts'

const NEW_LINE = 10

export async function* linesOf(
  body: AsyncIterable<Uint8Array>,
  of: {
    lineBytesMax: number
    /** A piece came. */
    still: () => void
  },
): AsyncGenerator<string> {
  const begun = new GatheredBytes()
  for await (const piece of body) {
    of.still()
    const bytes = Buffer.from(piece.buffer, piece.byteOffset, piece.byteLength)
    let from = 0
    for (let at = bytes.indexOf(NEW_LINE); at >= 0; at = bytes.indexOf(NEW_LINE, from)) {
      begun.push(bytes.subarray(from, at))
      from = at + 1
      const line = begun.take().toString('utf8').trim()
      if (line !== '') yield line
    }
    begun.push(bytes.subarray(from))
    if (begun.length > of.lineBytesMax)
      throw new RangeError(`a line of more than ${of.lineBytesMax} bytes`)
  }
  const last = begun.take().toString('utf8').trim()
  if (last !== '') yield last
}
