/** Faults of the simulated provider, set through its control door `/_sim`: how anybody can see what Headgate
 *  does about trouble. Remembers what was set through here, as long as it lasts. */
import { request } from 'undici'
import type { FaultAsk, Frame } from '#contracts/dashboard'
import { OperatorError, type Clock } from '#ports'

type Lasting = Frame['faults'][number]

export interface SimulatedFaults {
  set(ask: FaultAsk): Promise<{ faults: Lasting[] }>
  lasting(): Lasting[]
}

/** Set at once and not ended, more would be a mistake. */
const LASTING_MAX = 20
const TIMEOUT_MS = 5_000
/** Some calls pass: a storm without a success would hide how probes end it. */
const MOST = 0.8

export function simulatedFaults(of: { baseUrl: string; clock: Clock }): SimulatedFaults {
  const { clock } = of
  let known: Lasting[] = []
  const lasting = (): Lasting[] => {
    const now = clock.wall()
    known = known.filter(({ until_at }) => until_at > now)
    return [...known]
  }
  const tell = async (method: 'POST' | 'DELETE', body: unknown): Promise<void> => {
    const status = await request(new URL('/_sim/faults', of.baseUrl), {
      method,
      headersTimeout: TIMEOUT_MS,
      bodyTimeout: TIMEOUT_MS,
      ...(body === null ? {} : { body: JSON.stringify(body) }),
    }).then(
      async (answer) => (await answer.body.dump(), answer.statusCode),
      () => null,
    )
    if (status === null) throw new OperatorError('the simulated provider does not answer')
    if (status >= 400) throw new OperatorError(`the simulated provider refused it with ${status}`)
  }
  return {
    lasting,
    async set(ask) {
      if (ask.kind === 'off') {
        await tell('DELETE', null)
        known = []
        return { faults: [] }
      }
      if (lasting().length >= LASTING_MAX)
        throw new OperatorError(`${LASTING_MAX} faults last already; off ends them`)
      await tell('POST', specOf(ask))
      const from_at = Math.round(clock.wall())
      const until_at = from_at + ask.for_ms
      known.push({ kind: ask.kind, model: ask.model ?? null, from_at, until_at })
      return { faults: lasting() }
    },
  }
}

function specOf(ask: FaultAsk): Record<string, unknown> {
  const common = { forMs: ask.for_ms, ...(ask.model === undefined ? {} : { model: ask.model }) }
  switch (ask.kind) {
    case 'storm':
      return { ...common, kind: 'storm_529', probability: MOST }
    case 'quota_drop':
      return { ...common, kind: 'quota_drop', rpm: ask.rpm }
    default:
      return { ...common, kind: 'hang_before_headers', probability: MOST }
  }
}
