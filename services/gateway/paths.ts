/** The paths of the door: those that are served, however a base URL was written, and what there is instead of
 *  the others. Pure. */

const SERVED = ['messages', 'models', 'headgate']

/** The one path of an endpoint, for a base URL that lacks `/v1`, has it as well, or ends with a slash: an SDK adds
 *  `/v1/messages` to it, and another program `/messages`. Other paths stay as they are. */
export function servedPath(url: string): string {
  if (!url.startsWith('/')) return url
  const at = url.search(/[?#]/)
  const path = at === -1 ? url : url.slice(0, at)
  const parts = path.split('/').filter((part) => part !== '')
  while (parts[0] === 'v1') parts.shift()
  if (!SERVED.includes(parts[0] ?? '')) return url
  return `/v1/${parts.join('/')}${at === -1 ? '' : url.slice(at)}`
}

/** Why there is nothing at this path, and what there is instead. */
export function nothingAt(method: string, url: string): string {
  const path = servedPath(url).replace(/[?#].*$/s, '')
  const parts = path.split('/').filter((part) => part !== '' && part !== 'v1')
  const instead =
    INSTEAD.find(([first]) => first.every((part, i) => part === parts[i]))?.[1] ?? endpoints(path)
  return `nothing is served at ${method} ${shown(path)}: ${instead}`
}

const ITSELF = 'ask the API itself for it, at its own base URL'

/** What the API has beside what is served here, by its first words. */
const INSTEAD: readonly (readonly [readonly string[], string])[] = [
  [
    ['messages', 'batches'],
    'there are POST and GET /v1/messages/batches, GET and DELETE /v1/messages/batches/<id>, POST …/<id>/cancel and GET …/<id>/results',
  ],
  [
    ['files'],
    `Headgate stores no files; put them into the message as base64 or a URL, or ${ITSELF}`,
  ],
  [['skills'], `Headgate stores no skills; ${ITSELF}`],
  [['complete'], 'text completions are not served; use POST /v1/messages'],
  [['organizations'], `administration is not served; ${ITSELF}`],
  [['chat', 'completions'], "this is another provider's API; use POST /v1/messages"],
  [['responses'], "this is another provider's API; use POST /v1/messages"],
]

function endpoints(path: string): string {
  const served =
    'there are POST /v1/messages, POST /v1/messages/count_tokens, /v1/messages/batches, GET /v1/models and GET /v1/models/<id>'
  // Such a base URL has something before the path.
  return /.\/(messages|models)(\/|$)/.test(path.replace(/^\/v1(?=\/)/, ''))
    ? `${served}; the base URL is the address of this door alone`
    : served
}

/** Nothing of the caller's is repeated: of a path only words of known APIs, the rest is `…`. */
function shown(path: string): string {
  const parts = path.split('/').slice(1, 1 + PARTS_MAX)
  return parts.map((part) => `/${part === '' || WORDS.has(part) ? part : '…'}`).join('')
}
const PARTS_MAX = 8
const WORDS: ReadonlySet<string> = new Set(
  `v1 v2 api anthropic claude beta messages count_tokens models batches results cancel files content skills
  versions complete organizations usage_report cost_report headgate jobs chat completions responses embeddings`.split(
    /\s+/,
  ),
)
