/** What every client is put through: one call of its own, in front of a Headgate of its own. */
import { memoryBus } from '#scheduler/memory/bus'
import { natsBus } from '../../services/scheduler/nats/connection.ts'
import { systemClock } from '../../services/platform/system.ts'
import type { FaultSpec } from '../../services/simulated-provider/faults.ts'
import { cannedClaude } from '../support/canned-claude.ts'
import { openDoor, type Door } from '../support/door.ts'
import { natsServer } from '../support/nats-server.ts'

export type Way = 'http' | 'nats'

export interface Case {
  /** What the page calls it. */
  title: string
  /** What the upstream does; `canned` answers in whole, with a tool first where there is one. */
  upstream: 'canned' | 'slow' | FaultSpec
  /** A deadline that the caller sends. */
  deadlineMs?: number
  /** The retries of the client are put off, where it has some. */
  retriesOff?: true
}

/** What each tool gives. */
export const WEATHER = 'rain from the west'
/** For a client whose tools are not ours to choose. */
const BASH = { command: `echo '${WEATHER}'`, description: 'Says the weather' }

/** In the error of every upstream that fails; nobody else says it. */
export const WORDS = 'zebra 4711'

const failing = (kind: FaultSpec['kind'], more: Partial<FaultSpec> = {}): FaultSpec => ({
  kind,
  message: `The upstream says ${WORDS}`,
  ...more,
})

export const cases = {
  plain: { title: 'whole', upstream: 'canned' },
  streamed: { title: 'streamed', upstream: 'canned' },
  tools: { title: 'tools', upstream: 'canned' },
  abort: { title: 'abort', upstream: 'slow' },
  bad: { title: '400', upstream: failing('bad_request_400') },
  limited: { title: '429', upstream: failing('rate_limited_requests', { retryAfter: 1 }) },
  overloaded: { title: '529', upstream: failing('storm_529') },
  overloadedOnce: { title: '529, retries off', upstream: failing('storm_529'), retriesOff: true },
  unavailable: { title: '503', upstream: failing('unavailable_503') },
  deadline: { title: 'deadline', upstream: { kind: 'hang_before_headers' }, deadlineMs: 1_500 },
} as const satisfies Record<string, Case>

export type CaseName = keyof typeof cases
export const CASE_NAMES = Object.keys(cases) as CaseName[]

/** A Headgate with its upstream. */
export interface Scene {
  /** Where the client is pointed: an HTTP door or a nats-server. */
  url: string
  /** Messages calls that came upstream. */
  calls(): number
  /** When the first of them came, in ms since 1970; null before it, and where answers are canned. */
  firstAt(): number | null
  /** The body of the last of them. */
  heard(): string
  rest: Door['rest']
  close(): Promise<void>
}

export async function openScene(
  name: CaseName,
  { way, shortWaits }: { way: Way; shortWaits: boolean },
): Promise<Scene> {
  const { upstream }: Case = cases[name]
  const claude = upstream === 'canned' ? await cannedClaude({ Bash: BASH }) : null
  const server = way === 'nats' ? await natsServer() : null
  const door = await openDoor({
    ...(claude === null ? {} : { upstreamUrl: claude.url }),
    yaml: shortWaits ? SHORT_WAITS : '',
    provider: upstream === 'slow' ? SLOW : {},
    bus:
      server === null
        ? memoryBus()
        : await natsBus({
            servers: server.url,
            name: 'headgate',
            egressConnections: 2,
            clock: systemClock,
          }),
  })
  if (typeof upstream === 'object') door.provider.fault(upstream)
  const asked: string[] = []
  const look = (): string[] => {
    for (const { method, path, body } of claude?.heard() ?? [])
      if (method === 'POST' && /^\/v1\/messages(\?|$)/.test(path)) asked.push(body.toString())
    return asked
  }
  return {
    url: server?.url ?? door.url,
    calls: () => (claude === null ? door.provider.ledger().entries.length : look().length),
    firstAt: () => door.provider.ledger().entries[0]?.at ?? null,
    heard: () => look().at(-1) ?? '',
    rest: () => door.rest(),
    async close() {
      await door.close()
      await claude?.close()
      await server?.stop()
    },
  }
}

/** Ten seconds and more of answer, so that whoever leaves leaves early. */
const SLOW = { tokensPerSecond: 100, outputTokens: 5_000 }
const SHORT_WAITS = 'lanes: { interactive: { base_backoff_ms: 1, cap_backoff_ms: 1 } }'
