/** I serve many customers, and one of them has just sent everything at once.
 *
 *  `greedy` sends 240 calls in one breath; `modest` asks every quarter of a second. Both use the same lane,
 *  the same model and the same key. Costs 250 short calls if your upstream is a real one. */
import { HeadgateClient, type Headgate } from '#client'

const greedy = new HeadgateClient({ tenant: 'greedy', servers: process.env['NATS_URL'] })
const modest = greedy.as('modest')

const queueMs = async (tenant: Headgate): Promise<number> => {
  const { accounting } = await tenant.request({
    model: 'claude-haiku-4-5',
    max_tokens: 16,
    messages: [{ role: 'user', content: 'Next, please.' }],
  })
  return accounting.queueMs
}

const flood = Promise.all(Array.from({ length: 240 }, () => queueMs(greedy)))
const drops: Promise<number>[] = []
for (let i = 0; i < 10; i++) {
  await new Promise((resolve) => setTimeout(resolve, 250))
  drops.push(queueMs(modest))
}

const waits = { greedy: await flood, modest: await Promise.all(drops) }
for (const [tenant, all] of Object.entries(waits)) {
  const sorted = all.toSorted((a, b) => a - b)
  const [middle, longest] = [sorted[Math.floor(sorted.length / 2)], sorted.at(-1)]
  console.log(
    `${tenant}: ${all.length} calls, waited ${middle} ms (median) to ${longest} ms (longest)`,
  )
}

await greedy.close()
// A turn is never further away than the calls that are in flight already.
process.exitCode = Math.max(...waits.modest) < Math.max(...waits.greedy) ? 0 : 1
