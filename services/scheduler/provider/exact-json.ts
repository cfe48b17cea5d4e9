/** JSON read and written again without a loss: a number keeps the digits that it came with, where a JavaScript
 *  number would round them. White space is not kept. */

/** ECMAScript's own, which the compiler's library does not know yet. */
interface ExactJson {
  parse(
    text: string,
    revive: (key: string, value: unknown, of: { source?: string }) => unknown,
  ): unknown
  rawJSON(source: string): unknown
}
const exact = JSON as unknown as ExactJson

/** Throws a SyntaxError where the text is no JSON. */
export const exactValue = (text: string): unknown =>
  exact.parse(text, (_key, value, { source }) =>
    typeof value === 'number' && source !== undefined ? exact.rawJSON(source) : value,
  )
