/** One call of one token to each upstream, on the way that every request takes: the same sockets, key, headers and
 *  reading of what comes back. For whoever asks whether an upstream would answer, before or beside a scheduler. */
import type { Config } from '#contracts/config'
import type { VerdictKind } from '#contracts/verdict'
import type { Clock, Millis, Provider } from '#ports'
import { upstreams } from './upstreams.ts'

export interface TrialCall {
  upstream: string
  /** Host and port, where its address has one. */
  host: string
  model: string
  /** Whether a route of the configuration names that model there. */
  routed: boolean
  /** The variable that its key is read from, and whether it says anything. */
  keyVariable: string
  hasKey: boolean
  kind: VerdictKind
  /** The verdict's own word, never the upstream's text. */
  cause: string
  /** The upstream's; null: no status line came. */
  status: number | null
  errorType: string | null
  retryAfterMs: Millis | null
  tookMs: Millis
}

/** A model with many thoughts before its first byte is not asked for more than one token of them. */
const FIRST_BYTE_MS: Millis = 20_000

/** Of all upstreams, or of one. A model that none of its routes names is asked for where `model` says so. */
export function trialCalls(of: {
  config: Config
  env: (name: string) => string | undefined
  provider: Pick<Provider, 'send'>
  clock: Clock
  only: string | null
  model: string | null
  modelElse: string
}): Promise<TrialCall[]> {
  const { file } = of.config
  const read = upstreams(() => of.config, of.env)
  const asked = Object.entries(file.upstreams).filter(([name]) => name === (of.only ?? name))
  return Promise.all(
    asked.map(async ([name, { api_key_env: keyVariable }]) => {
      const upstream = read(name)
      const models = (file.routes ?? []).flatMap((route) =>
        route.upstream === name ? [route.model] : [],
      )
      const model = of.model ?? models[0] ?? of.modelElse
      const firstByteMs = Math.min(FIRST_BYTE_MS, file.limits.first_byte_max_ms)
      const end = await attempt({ ...of, upstream, model, firstByteMs })
      return {
        upstream: name,
        host: new URL(upstream.baseUrl).host,
        model,
        routed: models.includes(model),
        keyVariable,
        hasKey: upstream.apiKey !== null,
        ...end,
      }
    }),
  )
}

type End = Pick<TrialCall, 'kind' | 'cause' | 'status' | 'errorType' | 'retryAfterMs' | 'tookMs'>

function attempt(of: {
  provider: Pick<Provider, 'send'>
  clock: Clock
  upstream: Parameters<Provider['send']>[0]['upstream']
  model: string
  firstByteMs: Millis
}): Promise<End> {
  const { clock, upstream, model, firstByteMs } = of
  const messages = [{ role: 'user', content: 'Hello.' }]
  const began = clock.now()
  return new Promise((resolve) => {
    const call = {
      tenant: 'doctor',
      lane: 'interactive',
      id: 'doctor',
      upstream,
      model,
      body: Buffer.from(JSON.stringify({ model, max_tokens: 1, messages })),
      stream: false,
      headers: {},
      firstByteMs,
      idleMs: firstByteMs,
    }
    of.provider.send(call, {
      firstByte() {},
      event() {},
      ended: ({ kind, cause, status, errorType, retryAfterMs }) =>
        resolve({ kind, cause, status, errorType, retryAfterMs, tookMs: clock.now() - began }),
    })
  })
}
