/** Many hostile streams at once, each way to Headgate: none of their events may be lost, none may come out of
 *  another stream, and nothing may be taken for the end of one but its end. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { isPing } from '#contracts/messages'
import { connectHeadgate, HeadgateError, type AnswerStream } from '#client'
import { startNatsServer } from '../../services/cli/nats-server.ts'
import { createHeadgate } from '../../services/library/embed.ts'
import { hostileStream, hostileUpstream, ownerOf } from './hostile-streams.ts'
import { launch } from './program.ts'
import { readSse } from './sse-reader.ts'

export interface Heard {
  /** As latin1. */
  events: string[]
  /** Null: it ended well; of `left`, not known. */
  error: string | null
}

/** Reads stream `n`; where `leaveAfter` is given, only so many events of it. */
type Listen = (n: number, leaveAfter: number) => Promise<Heard>

export interface Tally {
  way: string
  streams: number
  events: number
  /** Open at the upstream together, at most. */
  openMax: number
  /** Events that did not come. */
  lost: number
  /** Events of another stream. */
  mixed: number
  /** Streams that were told as whole and were not, or whose end was something else. */
  ended: number
  seconds: number
  /** The first few of each, for a person. */
  notes: string[]
}

const NOTES_MAX = 5
const DEADLINE_MS = 600_000

export async function manyStreams(of: {
  count: number
  ways?: readonly string[]
}): Promise<Tally[]> {
  const upstream = await hostileUpstream({ together: of.count })
  const dir = mkdtempSync(join(tmpdir(), 'headgate-streams-'))
  const config = join(dir, 'headgate.yaml')
  writeFileSync(config, configFor(of.count))
  const tallies: Tally[] = []
  try {
    for (const [way, open] of Object.entries(WAYS)) {
      if (of.ways !== undefined && !of.ways.includes(way)) continue
      const { listen, close } = await open({ upstreamUrl: upstream.url, config })
      try {
        tallies.push({ ...(await tallyOf(way, of.count, listen)), openMax: upstream.openMax() })
      } finally {
        await close()
      }
    }
  } finally {
    await upstream.close()
    rmSync(dir, { recursive: true, force: true })
  }
  return tallies
}

/** Room for all of them at once. */
const configFor = (count: number): string => `
llm_gateway: { max_inflight_global: ${count}, max_inflight_per_tenant: ${count} }
lanes: { interactive: { cap: ${count}, queue_max: 100000 } }
scheduling: { base: ${count} }
concurrency_limit: { initial: ${count}, ceiling: ${count} }
`

async function tallyOf(way: string, count: number, listen: Listen): Promise<Tally> {
  const tally: Tally = {
    ...{ way, streams: count, events: 0, openMax: 0, lost: 0, mixed: 0, ended: 0, seconds: 0 },
    notes: [],
  }
  const began = performance.now()
  const one = async (n: number): Promise<void> => {
    const wanted = hostileStream(n)
    const leaveAfter = wanted.ending === 'left' ? wanted.leaveAfter : Infinity
    check(n, await listen(n, leaveAfter), tally)
  }
  await Promise.all(Array.from({ length: count }, (_, n) => one(n)))
  tally.seconds = (performance.now() - began) / 1_000
  return tally
}

/** Adds what is wrong with one. */
export function check(n: number, heard: Heard, tally: Tally): void {
  const { ending, events, leaveAfter } = hostileStream(n)
  const wanted = ending === 'left' ? events.slice(0, leaveAfter) : events
  const note = (what: string): void => {
    if (tally.notes.length < NOTES_MAX) tally.notes.push(`stream ${n} (${ending}): ${what}`)
  }
  tally.events += heard.events.length
  const strange = heard.events.filter((event) => ![null, n].includes(ownerOf(event)))
  tally.mixed += strange.length
  if (strange.length > 0) note(`${strange.length} events of others`)
  const same = heard.events.findIndex((event, i) => event !== wanted[i])
  const right = same === -1 ? Math.min(heard.events.length, wanted.length) : same
  tally.lost += wanted.length - right
  if (right < wanted.length || heard.events.length > wanted.length)
    note(`${right} of ${wanted.length} events in order, ${heard.events.length} in all`)
  const expected = { whole: null, left: heard.error, cut: BROKEN, no_stop: BROKEN, error: BROKEN }
  if (heard.error === expected[ending]) return
  tally.ended++
  note(
    `ended with ${heard.error ?? 'nothing wrong'}, expected ${expected[ending] ?? 'a whole one'}`,
  )
}

const BROKEN = 'stream_broken'

// ---- the ways ----

type Open = (of: { upstreamUrl: string; config: string }) => Promise<{
  listen: Listen
  close(): Promise<void>
}>

const WAYS: Record<string, Open> = {
  'NATS client': async (of) => {
    const house = await openHouse(of)
    const client = await connectHeadgate({ servers: house.natsUrl, tenant: 'acme' })
    const tenants = TENANTS.map((name) => client.as(name))
    return {
      listen: (n, leaveAfter) =>
        heardOf(tenants[n % tenants.length]!.stream(bodyOf(n), OPTIONS), leaveAfter),
      async close() {
        await client.close()
        await house.close()
      },
    }
  },
  embedded: async ({ upstreamUrl, config }) => {
    const { readFileSync } = await import('node:fs')
    const headgate = await createHeadgate(readFileSync(config, 'utf8'), {
      baseUrl: upstreamUrl,
      apiKey: 'sk-streams',
    })
    return {
      listen: (n, leaveAfter) =>
        heardOf(headgate.as(TENANTS[n % TENANTS.length]!).stream(bodyOf(n), OPTIONS), leaveAfter),
      close: () => headgate.close(),
    }
  },
  'HTTP door': async (of) => {
    const house = await openHouse(of)
    return { listen: overHttp(house.doorUrl), close: house.close }
  },
  'HTTP door apart': async (of) => {
    const house = await openHouse(of)
    const door = launch('gateway', {
      NATS_URL: house.natsUrl,
      HEADGATE_GATEWAY_PORT: '0',
      HEADGATE_CONFIG: of.config,
      LOG_LEVEL: 'warn',
    })
    const { gateway = '', message } = await door.told
    if (gateway === '') throw new Error(message)
    return {
      listen: overHttp(gateway),
      async close() {
        await door.kill()
        await house.close()
      },
    }
  },
}
export const WAY_NAMES = Object.keys(WAYS)

const TENANTS = ['acme', 'globex', 'initech', 'umbrella']
const OPTIONS = { deadlineMs: DEADLINE_MS }

const bodyOf = (n: number): string =>
  JSON.stringify({
    model: 'claude-haiku-4-5',
    max_tokens: 64,
    stream: true,
    metadata: { user_id: String(n) },
    messages: [{ role: 'user', content: 'Say much.' }],
  })

/** A nats-server, and a scheduler with its door, in processes of their own. */
async function openHouse(of: { upstreamUrl: string; config: string }) {
  const { server, reason } = await startNatsServer()
  if (server === null) throw new Error(reason)
  const scheduler = launch('scheduler', {
    NATS_URL: server.url,
    ANTHROPIC_BASE_URL: of.upstreamUrl,
    ANTHROPIC_API_KEY: 'sk-streams',
    HEADGATE_HTTP_PORT: '0',
    HEADGATE_GATEWAY: 'on',
    HEADGATE_GATEWAY_PORT: '0',
    HEADGATE_CONFIG: of.config,
    LOG_LEVEL: 'warn',
  })
  const { gateway = '', message } = await scheduler.told
  if (gateway === '') throw new Error(message)
  return {
    natsUrl: server.url,
    doorUrl: gateway,
    async close() {
      await scheduler.kill()
      await server.stop()
    },
  }
}

async function heardOf(stream: AnswerStream, leaveAfter: number): Promise<Heard> {
  const events: string[] = []
  stream.final.catch(() => {})
  try {
    for await (const chunk of stream.chunks()) {
      events.push(Buffer.from(chunk).toString('latin1'))
      if (events.length === leaveAfter) return { events, error: null }
    }
    await stream.final
    return { events, error: null }
  } catch (error) {
    if (!(error instanceof HeadgateError)) throw error
    return { events, error: error.code }
  }
}

function overHttp(url: string): Listen {
  return async (n, leaveAfter) => {
    const response = await fetch(`${url}/v1/messages`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'headgate-deadline-ms': String(DEADLINE_MS) },
      body: bodyOf(n),
    })
    const parts: Uint8Array[] = []
    const soFar = () => eventsOf(Buffer.concat(parts))
    for await (const part of response.body ?? []) {
      parts.push(part as Uint8Array)
      if (leaveAfter === Infinity) continue
      const { events } = soFar()
      if (events.length < leaveAfter) continue
      // Leaving the loop closes the connection.
      return { events: events.slice(0, leaveAfter), error: null }
    }
    return soFar()
  }
}

/** A stream that ends without `message_stop` and without an error has ended early, whatever HTTP says. */
function eventsOf(bytes: Buffer): Heard {
  const all = readSse(bytes).filter(({ data }) => !isPing(Buffer.from(data, 'latin1')))
  const last = all.at(-1)
  const failed =
    last?.name === 'error' ? (JSON.parse(last.data) as { headgate: { code: string } }) : null
  return {
    events: all.filter((event) => failed === null || event !== last).map(({ data }) => data),
    error: failed?.headgate.code ?? null,
  }
}
