/** Whether a text holds a planted value, as it is or as something that carries text would write it. */

export interface Text {
  /** Where it was said. */
  where: string
  text: string
}

/** Each `where: name` at which a planted value was found. */
export function foundIn(
  texts: readonly Text[],
  planted: Readonly<Record<string, string>>,
): string[] {
  const found: string[] = []
  for (const [name, value] of Object.entries(planted))
    for (const [way, form] of Object.entries(formsOf(value)))
      for (const { where, text } of texts)
        if (text.includes(form)) found.push(`${where}: ${name} (${way})`)
  return found
}

/** In base64 a text looks different for each of three beginnings; its first and last digits may hold
 *  something of its neighbours and are left out. */
function formsOf(value: string): Record<string, string> {
  const bytes = Buffer.from(value)
  const forms: Record<string, string> = {
    'as it is': value,
    json: JSON.stringify(value).slice(1, -1),
    url: encodeURIComponent(value),
    form: new URLSearchParams([['', value]]).toString().slice(1),
    hex: bytes.toString('hex'),
    latin1: bytes.toString('latin1'),
  }
  for (const shift of [0, 1, 2]) {
    const text = Buffer.concat([Buffer.alloc(shift), bytes])
      .toString('base64')
      .replace(/=+$/, '')
    const core = text.slice(shift === 0 ? 0 : shift + 1, -1)
    forms[`base64 +${shift}`] = core
    forms[`base64url +${shift}`] = core.replaceAll('+', '-').replaceAll('/', '_')
  }
  return forms
}
