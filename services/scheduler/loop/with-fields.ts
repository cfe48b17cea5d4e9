/** What a lane adds to a call: fields of its body, and the feature that one of them needs. Pure. */

/** The feature that fast mode is asked for by, where a model still needs to be asked so. */
export const FAST_BETA = 'fast-mode-2026-02-01'

/** The body with these fields before its own. `body` is JSON with an object at its top that has none of them. */
export function withFields(body: Uint8Array, fields: object): Uint8Array {
  const open = body.indexOf(OPEN_OBJECT)
  const text = JSON.stringify(fields)
  // An object of the API has fields of its own, so that a comma follows.
  return Buffer.concat([
    body.subarray(0, open),
    Buffer.from(`${text.slice(0, -1)},`),
    body.subarray(open + 1),
  ])
}

const OPEN_OBJECT = 123

/** The features asked for, and this one. */
export function withBeta(beta: string | undefined, more: string): string {
  const asked = (beta ?? '').split(',').map((one) => one.trim())
  if (asked.includes(more)) return beta ?? more
  return asked.every((one) => one === '') ? more : `${beta},${more}`
}
