/** The pages of a batch as they cross the bus: a line of JSON, and bytes after it. */
import { pageHead, type PageHead } from '#contracts/batches'

const LF = 10

export interface Page {
  head: PageHead
  /** The `params` of each entry, in order. */
  params: Uint8Array[]
}

/** Null: it is none. */
export function readPage(bytes: Uint8Array): Page | null {
  const end = bytes.indexOf(LF)
  if (end < 0) return null
  const read = pageHead.safeParse(jsonOf(bytes.subarray(0, end)))
  if (!read.success) return null
  const params: Uint8Array[] = []
  let from = end + 1
  for (const [, length] of read.data.entries) {
    params.push(bytes.subarray(from, from + length))
    from += length
  }
  return from === bytes.length ? { head: read.data, params } : null
}

/** The names of a page's entries, as they are kept. */
export const namesOf = (head: PageHead): Uint8Array =>
  Buffer.from(JSON.stringify(head.entries.map(([name]) => name)))

export function readNames(bytes: Uint8Array | null): string[] {
  const read = bytes === null ? null : jsonOf(bytes)
  return Array.isArray(read) ? read.filter((name) => typeof name === 'string') : []
}

/** Null: it is no JSON. */
export function jsonOf(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(bytes)) as unknown
  } catch {
    return null
  }
}
