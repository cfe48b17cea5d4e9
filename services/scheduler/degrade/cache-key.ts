/** Under which name an answer is kept: the tenant, and a hash of all that makes the upstream answer as it
 *  does. Only equal bytes are equal questions; nothing of the question can be read from it. */
import { createHash } from 'node:crypto'
import type { CacheAsk } from '#ports'

/** `<tenant>.<64 hex digits>`: a subject of two tokens. */
export function cacheKey({ tenant, body, headers }: CacheAsk): string {
  const hash = createHash('sha256')
  for (const text of [headers.version ?? '', headers.beta ?? '']) hash.update(`${text}\n`)
  return `${tenant}.${hash.update(body).digest('hex')}`
}
