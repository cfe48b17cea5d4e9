/** The clients, each as its users have it, and what those who use it should know. */
import { read } from '../support/tree.ts'
import type { CaseName, Way } from './cases.ts'
import type { SourceId } from './installs.ts'

export interface Client {
  /** As its users call it. */
  name: string
  way: Way
  from: SourceId
  /** The file to run, beside what it needs; then base URL, case, retries and deadline follow. */
  program: string
  /** Cases that mean nothing for it. */
  without?: readonly CaseName[]
  /** After those. */
  more?: readonly string[]
  /** What `manifest` calls it; a version follows there. */
  package: string
  manifest: string
  /** Base URL, key and a header, in one line. */
  setUp: string
  /** What puts its own retries off, or why nothing has to be. */
  retries: string
  /** For calls that wait long, in lane `batch` above all. */
  waiting: string
  /** What it does otherwise than one would expect. */
  differences?: readonly string[]
}

const NODE = 'test/clients/node/package.json'
const PYTHON = 'test/clients/python/requirements.txt'

const DISPATCHER =
  '`fetchOptions: { dispatcher: new Agent({ headersTimeout: 0, bodyTimeout: 0 }) }`'

const typescript = {
  way: 'http',
  from: 'own',
  program: 'anthropic-sdk.mjs',
  manifest: 'package.json',
  setUp:
    "`new Anthropic({ baseURL: 'http://127.0.0.1:8781', apiKey: 'hg_…', defaultHeaders: { 'headgate-lane': 'batch' } })`",
  retries: 'none: it does as it is told (`x-should-retry`)',
  waiting: `\`timeout\`, and ${DISPATCHER} of undici; or stream`,
} as const

export const clients = {
  'typescript-oldest': {
    ...typescript,
    name: 'SDK for TypeScript, oldest supported',
    more: ['anthropic-sdk-oldest'],
    package: '"anthropic-sdk-oldest"',
    differences: ['It has no classes of its own for 503, 504 and 529: look at `status`.'],
  },
  typescript: {
    ...typescript,
    name: 'SDK for TypeScript',
    more: ['anthropic-sdk-newest'],
    package: '"anthropic-sdk-newest"',
  },
  python: {
    name: 'SDK for Python',
    way: 'http',
    from: 'python',
    program: 'anthropic_sdk.py',
    package: 'anthropic==',
    manifest: PYTHON,
    setUp:
      '`Anthropic(base_url="http://127.0.0.1:8781", api_key="hg_…", default_headers={"headgate-lane": "batch"})`',
    retries: typescript.retries,
    waiting: '`timeout=`; or stream',
  },
  'ai-sdk': {
    name: 'Vercel AI SDK',
    way: 'http',
    from: 'node',
    program: 'ai-sdk.mjs',
    package: '"ai"',
    manifest: NODE,
    setUp:
      "`createAnthropic({ baseURL: 'http://127.0.0.1:8781/v1', apiKey: 'hg_…', headers: { 'headgate-lane': 'batch' } })`",
    retries:
      '`maxRetries: 0` of each call, to raise the first refusal: by default it asks again whatever it is told, and hears a 400',
    waiting:
      '`fetch: (url, init) => fetch(url, { ...init, dispatcher })` of `createAnthropic`, with `new Agent({ headersTimeout: 0, bodyTimeout: 0 })` of undici; or `streamText`',
    differences: [
      'It asks three times whatever it is told, after a passed deadline too, each of them a whole call to Headgate. What it raises then is a `RetryError`; the refusal with its status is in `lastError`.',
    ],
  },
  'langchain-js': {
    name: 'LangChain JS',
    way: 'http',
    from: 'node',
    program: 'langchain.mjs',
    package: '"@langchain/anthropic"',
    manifest: NODE,
    setUp:
      "`new ChatAnthropic({ anthropicApiUrl: 'http://127.0.0.1:8781', apiKey: 'hg_…', clientOptions: { defaultHeaders: { 'headgate-lane': 'batch' } } })`",
    retries:
      '`maxRetries: 0`, to raise the first refusal: by default it asks again whatever it is told, and hears a 400',
    waiting: `\`clientOptions: { timeout, ${DISPATCHER.slice(1, -1)} }\`; or stream`,
    differences: [
      'It asks seven times whatever it is told, after a passed deadline too, each of them a whole call to Headgate.',
    ],
  },
  'langchain-python': {
    name: 'LangChain for Python',
    way: 'http',
    from: 'python',
    program: 'langchain_client.py',
    package: 'langchain-anthropic==',
    manifest: PYTHON,
    setUp:
      '`ChatAnthropic(base_url="http://127.0.0.1:8781", api_key="hg_…", default_headers={"headgate-lane": "batch"})`',
    retries: typescript.retries,
    waiting: '`timeout=`; or stream',
  },
  litellm: {
    name: 'LiteLLM',
    way: 'http',
    from: 'litellm',
    program: 'litellm_client.py',
    package: 'litellm==',
    manifest: 'test/clients/python/litellm/requirements.txt',
    setUp:
      '`completion(api_base="http://127.0.0.1:8781", api_key="hg_…", extra_headers={"headgate-lane": "batch"}, …)`',
    retries: 'nothing: it asks once',
    waiting: '`timeout=`; or `stream=True`',
  },
  'litellm-retries': {
    name: 'LiteLLM, `num_retries=3`',
    way: 'http',
    from: 'litellm',
    program: 'litellm_client.py',
    more: ['3'],
    without: ['plain', 'streamed', 'tools', 'abort', 'overloadedOnce'],
    package: 'litellm==',
    manifest: 'test/clients/python/litellm/requirements.txt',
    setUp: 'as above',
    retries: 'no `num_retries`: each of them is a whole call to Headgate',
    waiting: 'as above',
  },
  go: {
    name: 'SDK for Go',
    way: 'http',
    from: 'go',
    program: 'anthropic-sdk',
    package: 'anthropic-sdk-go ',
    manifest: 'test/clients/go/go.mod',
    setUp:
      '`anthropic.NewClient(option.WithBaseURL("http://127.0.0.1:8781"), option.WithAPIKey("hg_…"), option.WithHeader("headgate-lane", "batch"))`',
    retries: typescript.retries,
    waiting: '`option.WithRequestTimeout`, past its 10 minutes; or stream',
    differences: [
      'All errors are of one type: look at `StatusCode`, and at `RawJSON()` for the code of Headgate.',
    ],
  },
  java: {
    name: 'SDK for Java',
    way: 'http',
    from: 'java',
    program: 'AnthropicSdk',
    package: '<artifactId>anthropic-java</artifactId>',
    manifest: 'test/clients/java/pom.xml',
    setUp:
      '`AnthropicOkHttpClient.builder().baseUrl("http://127.0.0.1:8781").apiKey("hg_…").putHeader("headgate-lane", "batch").build()`',
    retries: typescript.retries,
    waiting: '`timeout(Duration)`, past its 10 minutes; or stream',
  },
  'claude-code': {
    name: 'Claude Code',
    way: 'http',
    from: 'claude-code',
    program: 'claude-code.mjs',
    package: '"@anthropic-ai/claude-code"',
    manifest: 'test/clients/claude-code/package.json',
    setUp:
      "`ANTHROPIC_BASE_URL=http://127.0.0.1:8781 ANTHROPIC_AUTH_TOKEN=hg_… ANTHROPIC_CUSTOM_HEADERS='headgate-lane: batch' claude`",
    retries:
      '`CLAUDE_CODE_MAX_RETRIES=0`: it does as it is told, but not of an `overloaded_error` with another status than 529',
    waiting: '`API_TIMEOUT_MS`; it streams',
    differences: [
      'An `overloaded_error` with another status than 529, as some 503 are, it asks eleven times over five minutes, whatever it is told.',
      "Of a 400 it asks three times, each time without one more of its betas, as it does at the API itself. A call with Headgate's own lane wants the header in `ANTHROPIC_CUSTOM_HEADERS`, one a line.",
    ],
  },
  llm: {
    name: '`llm` with llm-anthropic',
    way: 'http',
    from: 'llm',
    program: 'llm_client.py',
    package: 'llm-anthropic==',
    manifest: 'test/clients/python/llm/requirements.txt',
    setUp:
      "`ANTHROPIC_BASE_URL=http://127.0.0.1:8781 ANTHROPIC_API_KEY=hg_… ANTHROPIC_CUSTOM_HEADERS='headgate-lane: batch' llm -m claude-haiku-4.5 …`",
    retries: 'nothing: the SDK inside does as it is told',
    waiting: 'nothing, it streams; with `--no-stream` it is cut after 10 minutes',
    differences: ['With a tool it prints what was said in every turn, not in the last one only.'],
  },
  'nats-cli': {
    name: 'nats command',
    way: 'nats',
    from: 'nats-cli',
    program: 'nats-cli.mjs',
    package: 'natscli/nats@',
    manifest: 'test/clients/installs.ts',
    setUp:
      '`nats --server nats://127.0.0.1:4222 request --header Headgate-Deadline-Ms:30000 llm.v1.request.acme.interactive …`',
    retries: 'it has none',
    waiting: '`--timeout`, past the deadline; streamed, `--wait-for-empty`',
    without: ['overloadedOnce'],
    differences: [
      'A refusal is an answer like any other: it is printed, and the exit status is 0. `--raw` shows no headers; without it `Nats-Service-Error-Code` is among them. Of the empty message that ends a stream it prints `nil body`.',
    ],
  },
  'nats-py': {
    name: 'nats-py',
    way: 'nats',
    from: 'python',
    program: 'nats_client.py',
    package: 'nats-py==',
    manifest: PYTHON,
    setUp:
      '`await nc.request("llm.v1.request.acme.interactive", body, timeout=60, headers={"Headgate-Deadline-Ms": "30000"})`',
    retries: 'it has none',
    waiting: '`timeout=` of `request`, past the deadline',
    without: ['overloadedOnce'],
    differences: [
      'A refusal is an answer like any other: look whether it has the header `Nats-Service-Error-Code`.',
    ],
  },
  'nats-go': {
    name: 'nats.go',
    way: 'nats',
    from: 'go',
    program: 'nats-go',
    package: 'nats-io/nats.go ',
    manifest: 'test/clients/go/go.mod',
    setUp:
      '`nats.NewMsg("llm.v1.request.acme.interactive")`, `Header.Set("Headgate-Deadline-Ms", "30000")`, `nc.RequestMsg(msg, time.Minute)`',
    retries: 'it has none',
    waiting: 'the timeout of `RequestMsg`, past the deadline',
    without: ['overloadedOnce'],
    differences: [
      'A refusal is an answer like any other: look whether it has the header `Nats-Service-Error-Code`.',
    ],
  },
} as const satisfies Record<string, Client>

export type ClientId = keyof typeof clients
export const CLIENT_IDS = Object.keys(clients) as ClientId[]
export const clientOf = (id: ClientId): Client => clients[id]

/** As its manifest pins it. */
export function versionOf(client: Client): string {
  const name = client.package.replace(/[^\w]/g, '\\$&')
  const found = new RegExp(`${name}\\D*(\\d[\\w.]*)`).exec(read(client.manifest))
  if (found === null) throw new Error(`${client.manifest} has no ${client.package}`)
  return found[1] ?? ''
}
