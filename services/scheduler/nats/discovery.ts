/** Answers `$SRV.PING`, `INFO` and `STATS` (ADR-32), so that `nats micro ls` and every other NATS tool finds
 *  us. Each verb is asked of all services, of all of one name, or of one instance. */
import type { Bus, BusMessage, Clock, Millis, Subscription } from '#ports'
import type { Endpoint } from './intake-desk.ts'
import { operatorReplyAllowed } from './reply-address.ts'

export const SERVICE_NAME = 'headgate'
const DESCRIPTION = 'Schedules Claude API calls: lanes, tenants, retries, a breaker.'
const VERBS = ['PING', 'INFO', 'STATS'] as const
type Verb = (typeof VERBS)[number]

export interface Discovery {
  close(): Promise<void>
}

export function discovery(of: {
  bus: Bus
  clock: Clock
  /** This instance. */
  id: string
  /** Semver. */
  version: string
  endpoints: readonly Endpoint[]
  /** Beside the largest payload; read for each answer. */
  metadata?: () => Readonly<Record<string, string>>
}): Discovery {
  const { bus, clock, endpoints } = of
  const started = new Date(clock.wall()).toISOString()
  const identity = () => ({
    name: SERVICE_NAME,
    id: of.id,
    version: of.version,
    metadata: { ...of.metadata?.(), 'max-payload': String(bus.maxPayload) },
  })
  const answer: Record<Verb, () => unknown> = {
    PING: () => ({ type: 'io.nats.micro.v1.ping_response', ...identity() }),
    INFO: () => ({
      type: 'io.nats.micro.v1.info_response',
      ...identity(),
      description: DESCRIPTION,
      endpoints: endpoints.map((endpoint) => ({ ...named(endpoint), metadata: {} })),
    }),
    STATS: () => ({
      type: 'io.nats.micro.v1.stats_response',
      ...identity(),
      started,
      endpoints: endpoints.map(stats),
    }),
  }

  const subscriptions: Subscription[] = []
  for (const verb of VERBS) {
    const on = ({ reply }: BusMessage) => {
      if (reply === undefined || !operatorReplyAllowed({ reply, ...TOOLS })) return
      bus.publish(reply, JSON.stringify(answer[verb]()))
    }
    for (const whom of ['', `.${SERVICE_NAME}`, `.${SERVICE_NAME}.${of.id}`]) {
      subscriptions.push(bus.subscribe(`$SRV.${verb}${whom}`, on))
    }
  }
  return {
    async close() {
      await Promise.all(subscriptions.map((subscription) => subscription.drain()))
    },
  }
}

/** Tools ask with the inbox of any name. */
const TOOLS = { prefixes: ['_INBOX.', '_INBOX_<tenant>.', '_R_.'], subjectPrefix: '$SRV' }

const named = ({ name, subject, queue }: Endpoint) => ({ name, subject, queue_group: queue ?? '' })

function stats(endpoint: Endpoint) {
  const { requests, errors, lastError, processingMs } = endpoint
  const processing = Math.round(processingMs * 1e6)
  return {
    ...named(endpoint),
    num_requests: requests,
    num_errors: errors,
    last_error: lastError,
    processing_time: processing,
    average_processing_time: requests === 0 ? 0 : Math.round(processing / requests),
  }
}

// ---- asking ourselves ----

/** Long enough for another instance to answer on the same network. */
const PEER_ANSWER_MS: Millis = 150

interface Peer {
  id?: string
  metadata?: { draining?: string }
}

/** Null: what a Headgate does not say. Anybody may answer to a service's name. */
function peerOf(data: Uint8Array): Peer | null {
  try {
    const said: unknown = JSON.parse(Buffer.from(data).toString())
    return typeof said === 'object' ? said : null
  } catch {
    return null
  }
}

/** Asks by service discovery whether another instance serves, and means to go on. */
export function hasPeer(bus: Bus, clock: Clock, instance: string): Promise<boolean> {
  if (bus.kind === 'memory' || !bus.connected()) return Promise.resolve(false)
  return new Promise((resolve) => {
    const inbox = `_INBOX.${instance}.peers`
    const end = (found: boolean): void => {
      cancel()
      void subscription.drain()
      resolve(found)
    }
    const subscription = bus.subscribe(inbox, (message) => {
      const peer = peerOf(message.data)
      if (peer === null) return
      const { id, metadata } = peer
      if (id !== instance && metadata?.draining === undefined) end(true)
    })
    const cancel = clock.after(PEER_ANSWER_MS, () => end(false))
    bus.publish(`$SRV.PING.${SERVICE_NAME}`, '', { reply: inbox })
  })
}
