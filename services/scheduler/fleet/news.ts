/** What instances of a fleet say to one another, as it crosses the bus. */
import { z } from 'zod'

const limitWord = z.object({ epoch: z.int().min(0), limit: z.number().min(0) })
const token = z.string().min(1).max(200)
const ms = z.number().min(0).max(86_400_000)
const peerNews = z.object({
  by: z.string(),
  news: z.discriminatedUnion('kind', [
    z.object({ kind: z.literal('limit'), route: token, word: limitWord }),
    z.object({ kind: z.literal('opened'), route: token, openFor: ms }),
    z.object({ kind: z.literal('paused'), quota: token, forMs: ms }),
    z.object({
      kind: z.literal('blocked'),
      upstream: token,
      status: z.int().nullable(),
      spendLimit: z.boolean(),
      cause: z.string().max(200),
    }),
  ]),
})

export type PeerNews = z.infer<typeof peerNews>

/** Null: it is not what instances say to one another. */
export function newsIn(data: Uint8Array): PeerNews | null {
  try {
    return peerNews.parse(JSON.parse(new TextDecoder().decode(data)))
  } catch {
    return null
  }
}
