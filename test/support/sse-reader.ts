/** Server-sent events as a browser reads them (HTML, section 9.2.6), to the letter and byte by byte: text is
 *  held as latin1, one character for each byte. */

export interface SseEvent {
  /** Empty when the frame had none. */
  name: string
  data: string
}

export function readSse(bytes: Uint8Array): SseEvent[] {
  const text = Buffer.from(bytes)
    .toString('latin1')
    .replace(/^\xef\xbb\xbf/, '')
  const lines = text.split(/\r\n|\r|\n/)
  // What follows the last line end is no line yet.
  lines.pop()
  const events: SseEvent[] = []
  let name = ''
  let data: string[] = []
  for (const line of lines) {
    if (line === '') {
      if (data.length > 0) events.push({ name, data: data.join('\n') })
      name = ''
      data = []
      continue
    }
    const colon = line.indexOf(':')
    if (colon === 0) continue
    const field = colon < 0 ? line : line.slice(0, colon)
    const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '')
    if (field === 'event') name = value
    if (field === 'data') data.push(value)
  }
  return events
}
