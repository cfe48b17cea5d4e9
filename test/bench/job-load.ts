/** Fills the stream of jobs as schedulers do, only faster: many messages in flight, and nobody checks them. */
import { headers, type NatsConnection } from '@nats-io/transport-node'
import { jetstreamManager } from '@nats-io/jetstream'
import { STORED } from '#contracts/jobs'
import { jobStreams } from '#contracts/job-streams'
import { HEADER } from '#contracts/messages'
import { storeNames } from '#contracts/store-names'
import { subjects } from '#contracts/subjects'

const IN_FLIGHT = 512
const DAY_MS = 86_400_000
/** Bytes of a job's body. */
const BODY = 800

export interface Loaded {
  jobs: number
  seconds: number
  /** Of the stream, as the server counts them. */
  bytes: number
}

/** Jobs of these tenants, one after the other, in the lane `batch`. */
export async function loadJobs(
  nc: NatsConnection,
  of: { jobs: number; tenantOf: (n: number) => string },
): Promise<Loaded> {
  const { stored } = subjects('llm')
  const names = storeNames('llm')
  const manager = await jetstreamManager(nc, { timeout: 60_000 })
  const streams = jobStreams({
    ...{ subjects: subjects('llm'), names, replicas: 1, backlogBytes: null },
    ...{ resultsAgeMs: DAY_MS, deadAgeMs: 30 * DAY_MS },
  })
  for (const stream of streams)
    await manager.streams.add(stream as Parameters<typeof manager.streams.add>[0])
  const tenants = new Set<string>()
  const began = performance.now()
  await published(nc, of.jobs, (n) => {
    const tenant = of.tenantOf(n)
    tenants.add(tenant)
    const said = headers()
    said.set(STORED.hash, 'w2FNiCpbyZ0m3BbGXvHpcBvVsr1Rf9sAKOZr4OBWm1Y')
    said.set(STORED.acceptedAt, String(Date.now()))
    said.set(HEADER.deadline, String(DAY_MS))
    return [stored.job('now', 'batch', tenant, `j${n}`), jobBody(`${tenant}/${n}`), said]
  })
  const noted = [...tenants]
  await published(nc, noted.length, (n) => [stored.flow('batch', noted[n]!), '', headers()])
  const seconds = (performance.now() - began) / 1_000
  const { state } = await manager.streams.info(names.jobs)
  return { jobs: of.jobs, seconds, bytes: state.bytes }
}

/** A body whose `user_id` says whose it is. */
export function jobBody(user: string): string {
  const body = {
    ...{ model: 'claude-sonnet-4-5', max_tokens: 16, metadata: { user_id: user } },
    messages: [{ role: 'user', content: '' }],
  }
  body.messages[0]!.content = 'x'.repeat(BODY - JSON.stringify(body).length)
  return JSON.stringify(body)
}

type Message = [subject: string, body: string, headers: ReturnType<typeof headers>]

/** Each is stored when its turn is over; so many are under way at once. */
function published(nc: NatsConnection, count: number, of: (n: number) => Message): Promise<void> {
  return new Promise((resolve, reject) => {
    const inbox = `_INBOX.load${process.hrtime.bigint()}`
    let sent = 0
    let stored = 0
    const send = (): void => {
      const [subject, body, said] = of(sent++)
      nc.publish(subject, body, { headers: said, reply: inbox })
    }
    const subscription = nc.subscribe(inbox, {
      callback: (_error, message) => {
        const { error } = message.json<{ error?: { description: string } }>()
        if (error !== undefined) return reject(new Error(error.description))
        stored += 1
        if (sent < count) send()
        if (stored < count) return
        subscription.unsubscribe()
        resolve()
      },
    })
    for (let n = 0; n < Math.min(IN_FLIGHT, count); n++) send()
  })
}
