/** Who is who on the wire: how each identifier looks and how it is made. */

/** Tenant, lane and request ids: one NATS subject token, safe in a label, a URL and a log line. */
export const TOKEN = /^[A-Za-z0-9_-]{1,64}$/
export const TOKEN_SHAPE = '1 to 64 characters of A-Z a-z 0-9 _ -'

/** A model's name is the caller's text; this is what may become a subject, a label or a route. */
export const MODEL = /^[A-Za-z0-9][A-Za-z0-9._:@/-]{0,127}$/
export const MODEL_SHAPE =
  '1 to 128 characters of A-Z a-z 0-9 . _ : @ / -, the first a letter or digit'

export type RequestKey = string

/** Of any value: what is no text is none. */
export const isToken = (text: unknown): text is string =>
  typeof text === 'string' && TOKEN.test(text)
export const isModel = (text: unknown): text is string =>
  typeof text === 'string' && MODEL.test(text)

/** Ids are unique per tenant while live, so the pair names a request. `/` is in neither part. */
export const requestKey = (tenant: string, id: string): RequestKey => `${tenant}/${id}`

/** `<upstream>-<model>`, every character outside a token as `_`, cut to 64; of a model in fast mode
 *  `<upstream>-_fast-<model>`, which no model's name can make. */
export const routeId = ({ upstream, model, fast }: RouteOf): string =>
  `${upstream}-${fast === true ? '_fast-' : ''}${model}`
    .replace(/[^A-Za-z0-9_-]/g, '_')
    .slice(0, 64)

/** The id of a route whose usual one is another's already: with a hash of all that it is. */
export function otherRouteId(of: RouteOf): string {
  let hash = 0x811c9dc5
  for (const char of `${of.upstream}/${routeKey(of.model, of.fast === true)}`)
    hash = Math.imul(hash ^ (char.codePointAt(0) ?? 0), 0x01000193)
  return `${routeId(of).slice(0, 55)}-${(hash >>> 0).toString(16).padStart(8, '0')}`
}

interface RouteOf {
  upstream: string
  model: string
  /** Absent: no. */
  fast?: boolean
}

/** What a route serves: a model, or a model in fast mode. */
export const routeKey = (model: string, fast: boolean): string => (fast ? `${model} fast` : model)

/** An id for a caller that named none: 'r_' and 20 characters of base 32, from 100 bits of chance. */
export function makeId(random: () => number): string {
  const alphabet = '0123456789abcdefghjkmnpqrstvwxyz'
  let id = 'r_'
  for (let word = 0; word < 4; word++) {
    let bits = Math.floor(random() * 33_554_432)
    for (let i = 0; i < 5; i++) {
      id += alphabet[bits & 31]
      bits >>>= 5
    }
  }
  return id
}
