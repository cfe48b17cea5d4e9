/** Pictures and documents in a body: how many bytes they are, and how many tokens their kinds and sizes suggest. */

/** Pictures and documents that stand in a body as base64. */
export interface Media {
  bytes: number
  /** Tokens that their kinds and sizes suggest. */
  tokens: number
}

/** A shorter text is no picture worth a look. */
export const MEDIA_FROM_BYTES = 256
/** The API scales pictures down to about 1,600 tokens; a page of a PDF is its text and its picture, about 3,000, and
 *  takes some 75 KB. What is learned from answers corrects both. */
export const PICTURE = { bytesPerToken: 150, most: 1_600 }
export const DOCUMENT = { bytesPerToken: 25, most: 600_000 }
const MEDIA = [
  { ...PICTURE, begins: Buffer.from('/9j/') },
  { ...PICTURE, begins: Buffer.from('iVBORw0KGgo') },
  { ...PICTURE, begins: Buffer.from('R0lGOD') },
  { ...PICTURE, begins: Buffer.from('UklGR') },
  { ...DOCUMENT, begins: Buffer.from('JVBERi') },
] as const

/** Adds a text of so many bytes to `found`, if it is one. Told by how it begins: base64 of these kinds always begins so. */
export function lookForMedia(data: Uint8Array, from: number, bytes: number, found: Media): void {
  const kind = MEDIA.find(({ begins }) => begins.every((byte, i) => data[from + i] === byte))
  if (kind === undefined) return
  found.bytes += bytes
  found.tokens += Math.min(kind.most, Math.ceil(bytes / kind.bytesPerToken))
}
