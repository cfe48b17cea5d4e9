/** `createHeadgate()`: the same core, machines and loop as the service, over a bus that stays in this process.
 *  A guest here: it keeps the process alive only while somebody waits for it, opens no port, and logs nothing
 *  unless asked. */
import { connectHeadgate, type Answer, type AnswerStream, type CallOptions } from '#client'
import type { Headgate } from '#client'
import type { ConfigInput } from '#contracts/config'
import { checkOptionNames, type OptionNames } from '#contracts/known-names'
import { DEADLINE_MAX_MS } from '#contracts/messages'
import { snapshot as snapshotShape, type Snapshot } from '#contracts/snapshot'
import { inspection } from '#machines/inspection'
import { xstateEvents, type MachineEvent } from '#machines/xstate-5'
import { loadConfig } from '#platform/config/load'
import { memoryBus } from '#scheduler/memory/bus'
import { memorySettings } from '#scheduler/memory/settings'
import { createLog, type LogLevel } from '#platform/log'
import { openCache } from '#scheduler/compose/open-cache'
import type { Clock, Dice, HeadgateEvent, Provider } from '#ports'
import { anthropicProvider, attemptLimits } from '#scheduler/provider/anthropic'
import { ownCalls, type OwnCalls } from '#scheduler/provider/own-calls'
import { guestClock, stayAlive, systemDice, throwLater } from '#platform/system'
import { wire, type Wired } from '#scheduler/compose/wire'

/** What `headgate.yaml` says, as an object, every knob optional; or its text. */
export type EmbedConfig = ConfigInput | string

export interface EmbedOptions {
  /** Key of the first upstream; default `ANTHROPIC_API_KEY`, or what `api_key_env` names. */
  apiKey?: string
  /** Address of the first upstream, unless the configuration names one; default `ANTHROPIC_BASE_URL`, else the
   *  public API. */
  baseUrl?: string
  /** Whose calls these are when `as` names nobody else; default `default`. */
  tenant?: string
  /** Default `interactive`. */
  lane?: string
  /** JSON lines on standard output; default `silent`. */
  logLevel?: LogLevel
  /** Instead of the real ones: for tests, and for upstreams of another kind. */
  provider?: Provider
  clock?: Clock
  dice?: Dice
}

type Calls = Pick<Headgate, 'tenant' | 'cancel' | 'status' | 'aux' | 'relay'>

export interface EmbeddedHeadgate extends Calls {
  request(
    body: Parameters<Headgate['request']>[0],
    options?: CallOptions,
  ): ReturnType<Headgate['request']>
  stream(body: Parameters<Headgate['stream']>[0], options?: CallOptions): AnswerStream
  /** The same Headgate for another tenant. */
  as(tenant: string): Calls & Pick<EmbeddedHeadgate, 'request' | 'stream'>
  /** Everything true now. */
  snapshot(): Snapshot
  /** Hears what happens, event by event (contracts/events); the answer ends it. What a listener throws is
   *  not heard. */
  on(listener: (event: HeadgateEvent) => void): () => void
  /** Hears XState's own inspection events of the breakers and limits, and of one request a second: first that
   *  each is there. The answer ends it. */
  inspect(listener: (event: MachineEvent) => void): () => void
  /** Puts another configuration in force, or refuses it whole. */
  configure(config: EmbedConfig): Promise<void>
  /** New calls are refused, running ones may end within `drain_ms`; then nothing is left. */
  close(): Promise<void>
}

/** Sockets per upstream, opened as needed: never the bound that counts. */
const CONNECTIONS_MAX = 10_016

/** Rejects with every mistake of the configuration, each with its path and what is allowed. */
export async function createHeadgate(
  config: EmbedConfig = {},
  options: EmbedOptions = {},
): Promise<EmbeddedHeadgate> {
  checkOptions(options)
  const { clock = guestClock, dice = systemDice, tenant = 'default' } = options
  const loaded = loadConfig({ path: 'config', text: textOf(config), emergency: false })
  const { file } = loaded.config
  const listeners = new Set<(event: HeadgateEvent) => void>()
  const shown = inspection()
  const bus = memoryBus()
  const { provider, lend } = providerOf(options, {
    clock,
    retryAfterMaxMs: file.llm_gateway.retry.retry_after_max_ms,
    home: () => firstOf(wired.loop.state.config.file.upstreams),
  })
  const wired: Wired = await wire({
    bus,
    settings: memorySettings(),
    cache: (await openCache({ settings: file.cache, connection: null, clock })).cache,
    provider,
    loaded,
    configPath: null,
    clock,
    dice,
    log: createLog({ level: options.logLevel ?? 'silent', clock }),
    http: null,
    inspection: shown,
    observer: { record: (event) => listeners.forEach((tell) => tell(event)) },
    version: 'embedded',
    env: environment(options, file.upstreams),
    onBug: throwLater,
  })
  const client = await connectHeadgate({
    tenant,
    bus,
    subjectPrefix: file.subject_prefix,
    waitMs: DEADLINE_MAX_MS,
    system: { after: clock.after, random: () => dice.next() },
    ...(options.lane === undefined ? {} : { lane: options.lane }),
  })
  const waiting = vigil()
  const made: EmbeddedHeadgate = {
    ...callsOf(client, waiting),
    as: (other) => callsOf(client.as(other), waiting),
    snapshot: () => snapshotShape.parse(wired.operator.snapshot()),
    on(listener) {
      if (typeof listener !== 'function') throw new TypeError('on: listener: expected a function')
      listeners.add(listener)
      return () => void listeners.delete(listener)
    },
    inspect: (listener) => xstateEvents(shown, listener),
    async configure(next) {
      wired.configure(textOf(next))
    },
    async close() {
      const release = stayAlive()
      await wired.stop()
      await client.close()
      release()
    },
  }
  lenders.set(made, lend)
  return made
}

type Lend = OwnCalls['lend']
const lenders = new WeakMap<EmbeddedHeadgate, Lend>()

/** How a call is made by its own client's ways (provider/own-calls). A Headgate with a provider of its own
 *  lends nothing: there every call is that provider's. Throws a TypeError for what `createHeadgate` has not
 *  made. */
export function lenderOf(headgate: EmbeddedHeadgate): Lend {
  const lend = lenders.get(headgate)
  if (lend === undefined)
    throw new TypeError(
      'withHeadgate: headgate: expected what createHeadgate resolved with, itself',
    )
  return lend
}

function providerOf(
  options: EmbedOptions,
  of: { clock: Clock; retryAfterMaxMs: number; home: () => string },
): { provider: Provider; lend: Lend } {
  if (options.provider !== undefined) return { provider: options.provider, lend: () => () => {} }
  const others = anthropicProvider({ ...of, connections: CONNECTIONS_MAX })
  const provider = ownCalls({ ...of, others, limits: attemptLimits(of) })
  return { provider, lend: provider.lend }
}

const OPTIONS: OptionNames<EmbedOptions> = {
  apiKey: true,
  baseUrl: true,
  tenant: true,
  lane: true,
  logLevel: true,
  provider: true,
  clock: true,
  dice: true,
}

/** A misspelt address would send calls, and a key, to the public API. */
function checkOptions(options: EmbedOptions): void {
  checkOptionNames({ where: 'createHeadgate', given: options, known: OPTIONS })
  const { baseUrl, apiKey } = options
  if (baseUrl !== undefined && (typeof baseUrl !== 'string' || !URL.canParse(baseUrl)))
    throw new TypeError('createHeadgate: baseUrl: expected an address as text')
  // Another form would be no key, and the environment's would stand in for it.
  if (apiKey !== undefined && (typeof apiKey !== 'string' || apiKey === ''))
    throw new TypeError(
      'createHeadgate: apiKey: expected a key as text; for a client whose key is a function or a token, use withHeadgate',
    )
}

/** JSON is YAML. */
const textOf = (config: EmbedConfig): string =>
  typeof config === 'string' ? config : JSON.stringify(config)

const firstOf = (upstreams: object): string => Object.keys(upstreams)[0] ?? ''

function environment(
  { apiKey, baseUrl }: EmbedOptions,
  upstreams: Record<string, { api_key_env: string }>,
) {
  const keyName = upstreams[firstOf(upstreams)]?.api_key_env ?? 'ANTHROPIC_API_KEY'
  const given: Record<string, string | undefined> = {
    [keyName]: apiKey,
    ANTHROPIC_BASE_URL: baseUrl,
  }
  return (name: string): string | undefined => given[name] ?? (process.env[name] || undefined)
}

function callsOf(
  client: Headgate,
  waiting: ReturnType<typeof vigil>,
): Calls & Pick<EmbeddedHeadgate, 'request' | 'stream'> {
  return {
    tenant: client.tenant,
    request: (body, options) => waiting.until<Answer>(client.request(body, options)),
    stream(body, options) {
      const stream = client.stream(body, options)
      waiting.until(stream.final).catch(() => {})
      return stream
    },
    relay(body, sink, options) {
      const end = waiting.begin()
      const relayed = client.relay(
        body,
        {
          event: (data) => sink.event(data),
          ping: () => sink.ping(),
          answer: (bytes, accounting) => (end(), sink.answer(bytes, accounting)),
          end: (accounting) => (end(), sink.end(accounting)),
          fail: (error) => (end(), sink.fail(error)),
        },
        options,
      )
      return { id: relayed.id, leave: () => (end(), relayed.leave()) }
    },
    cancel: (id) => client.cancel(id),
    status: (id) => client.status(id),
    aux: (kind, body, options) => waiting.until(client.aux(kind, body, options)),
  }
}

/** The process stays while anybody waits, and not a moment longer. */
function vigil() {
  let count = 0
  let release: (() => void) | null = null
  const begin = (): (() => void) => {
    if (count++ === 0) release = stayAlive()
    let over = false
    return () => {
      if (over) return
      over = true
      if (--count === 0) release?.()
    }
  }
  return {
    begin,
    until<T>(promise: Promise<T>): Promise<T> {
      return promise.finally(begin())
    },
  }
}
