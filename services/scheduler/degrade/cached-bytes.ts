/** A kept answer as bytes, and back: a line of JSON with the size of each part, then the parts. */
import type { CachedAnswer } from '#ports'

const LF = 10

export function toBytes({ parts, requestId }: CachedAnswer): Uint8Array {
  const head = JSON.stringify({
    v: 1,
    request_id: requestId,
    sizes: parts.map((part) => part.length),
  })
  return Buffer.concat([Buffer.from(`${head}\n`), ...parts])
}

/** Null: not one of ours. */
export function fromBytes(bytes: Uint8Array): CachedAnswer | null {
  const end = bytes.indexOf(LF)
  const head = end < 0 ? null : readHead(new TextDecoder().decode(bytes.subarray(0, end)))
  if (head === null) return null
  const parts: Uint8Array[] = []
  let at = end + 1
  for (const size of head.sizes) {
    parts.push(bytes.slice(at, at + size))
    at += size
  }
  return at === bytes.length ? { parts, requestId: head.requestId } : null
}

function readHead(text: string): { requestId: string | null; sizes: number[] } | null {
  try {
    const { v, request_id, sizes } = JSON.parse(text) as Record<string, unknown>
    const whole = (one: unknown): one is number => Number.isInteger(one) && (one as number) >= 0
    if (v !== 1 || !Array.isArray(sizes) || !sizes.every(whole)) return null
    return { requestId: typeof request_id === 'string' ? request_id : null, sizes }
  } catch {
    return null
  }
}
