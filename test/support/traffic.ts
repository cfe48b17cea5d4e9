/** A steady stream of requests from many tenants, so that a dashboard has something to show. */
import { connectHeadgate, type Headgate } from '#client'

export interface Stream {
  tenant: string
  lane: string
  model: string
  perSecond: number
  stream?: boolean
  maxTokens?: number
}

export interface Traffic {
  /** Adds one; the answer ends it. */
  add(of: Stream): () => void
  /** Answers and refusals so far. */
  ended(): number
  close(): Promise<void>
}

const TICK_MS = 50

export async function openTraffic(servers: string): Promise<Traffic> {
  const root = await connectHeadgate({ servers, tenant: 'traffic', callsMax: 100_000 })
  const clients = new Map<string, Headgate>()
  const timers = new Set<NodeJS.Timeout>()
  let ended = 0
  const clientOf = (tenant: string): Headgate => {
    const client = clients.get(tenant) ?? root.as(tenant)
    clients.set(tenant, client)
    return client
  }
  return {
    add({ tenant, lane, model, perSecond, stream = false, maxTokens = 120 }) {
      const client = clientOf(tenant)
      const body = {
        model,
        max_tokens: maxTokens,
        messages: [{ role: 'user' as const, content: 'Say hello.' }],
      }
      let owed = Math.random()
      const timer = setInterval(() => {
        owed += (perSecond * TICK_MS) / 1_000
        for (; owed >= 1; owed--) {
          const asked = stream
            ? client.stream(body, { lane }).final
            : client.request(body, { lane })
          void asked.catch(() => {}).finally(() => ended++)
        }
      }, TICK_MS)
      timers.add(timer)
      return () => {
        clearInterval(timer)
        timers.delete(timer)
      }
    },
    ended: () => ended,
    async close() {
      for (const timer of timers) clearInterval(timer)
      await root.close()
    },
  }
}
