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

/** `<upstream>-<model>`, every character outside a token as `_`, cut to 64. */
export const routeId = (of: { upstream: string; model: string; fast?: boolean }): string => {
  const id = `${of.upstream}-${of.model}`.replace(/[^A-Za-z0-9_-]/g, '_')
  return of.fast === true ? `${id.slice(0, 64 - FAST_ROUTE.length)}${FAST_ROUTE}` : id.slice(0, 64)
}
/** What a route serves: a model, or a model in fast mode. */
export const routeKey = (model: string, fast: boolean): string => (fast ? `${model} fast` : model)
/** The route of a model in fast mode. */
const FAST_ROUTE = '-fast'

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
