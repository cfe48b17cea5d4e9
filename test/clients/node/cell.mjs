/** One call of one client, told as one line of JSON on stdout:
 *
 *      node CLIENT.mjs BASE_URL CASE RETRIES DEADLINE_MS
 *
 *  `RETRIES` is `default` or a number; `DEADLINE_MS` is `lane` or a number, sent as a header. The line is
 *  `{"text","pieces","ms"}`, or `{"error":{"type","message"},"ms"}`; `ms` is from the call to its end. */
const [baseURL, name, retries, deadline, ...more] = process.argv.slice(2)

export const asked = {
  baseURL,
  /** Arguments of the client's own. */
  more,
  retries: retries === 'default' ? undefined : Number(retries),
  headers: deadline === 'lane' ? {} : { 'headgate-deadline-ms': deadline },
  model: 'claude-haiku-4-5',
  prompt: 'Say something about a river.',
}

export const WEATHER = 'rain from the west'

/** Each way answers with the text that it read; `abort` ends when the client has let go. A case without a way
 *  of its own is a plain call at an upstream that fails. */
export async function run(ways) {
  const pieces = []
  const began = performance.now()
  const tell = (end) =>
    console.log(JSON.stringify({ ...end, ms: Math.round(performance.now() - began) }))
  try {
    const text = await (ways[name] ?? ways.plain)((piece) => pieces.push(piece))
    tell({ text: text ?? pieces.join(''), pieces: pieces.length })
  } catch (error) {
    tell({ error: { type: nameOf(error), message: wordsOf(error) } })
  }
}

/** Its class, unless it has another kind. */
const nameOf = (error) => error?.kind ?? error?.constructor?.name

/** What a user sees who prints it. */
const wordsOf = (error) => String(error?.message ?? error)
