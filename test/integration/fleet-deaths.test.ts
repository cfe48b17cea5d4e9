/** Three schedulers behind one nats-server, of which one is killed, stopped or made to stand still under load: who asks
 *  through the client, or through the door that stands apart, is spared whatever could be spared. */
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { clientSystem } from '#client'
import { openFleet, type Call, type Fleet, type Member, type Way } from '../support/fleet.ts'
import { heldUpstream, type HeldUpstream } from '../support/held-upstream.ts'
import { standStill } from '../support/stand-still.ts'

/** Within 5 s, as the client's own tests have it in virtual time; twice that on a crowded machine, and still less than
 *  the 15 s after which a silent stream ends by itself. */
const NOTICED_MS = 10_000
/** Four programs start. */
const PATIENCE = 180_000
/** Of each instance; the others wait in its queue. */
const RUNNING = 10
const YAML = `llm_gateway: { max_inflight_global: ${RUNNING} }
concurrency_limit: { initial: ${RUNNING} }
`

let upstream: HeldUpstream
let fleet: Fleet
beforeAll(async () => {
  upstream = await heldUpstream()
  fleet = await openFleet({ upstream: upstream.url, yaml: YAML, schedulers: 3 })
}, PATIENCE)
beforeEach(async () => {
  upstream.hold()
  while (fleet.members.length < 3) await fleet.start()
}, PATIENCE)
afterAll(async () => {
  await fleet.close()
  await upstream.close()
})

const WAYS = ['client', 'door'] as const satisfies readonly Way[]
let asked = 0
const ask = (count: number, stream: boolean): Call[] =>
  WAYS.flatMap((way) =>
    Array.from({ length: count }, () =>
      fleet.ask({ id: `${way}-${stream ? 'stream' : 'plain'}-${asked++}`, way, stream }),
    ),
  )

/** Streams that have begun, and plain calls and streams that have not, of which some wait. */
async function load() {
  const [ran, told] = [upstream.calls.all.length, fleet.taken.all.length]
  const begun = ask(5, true)
  const first = await upstream.calls.take(ran + begun.length)
  for (const call of first) call.begin()
  await Promise.all(begun.map((call) => call.begun))
  const waiting = [...ask(9, false), ...ask(9, true)]
  const taken = await fleet.taken.take(told + begun.length + waiting.length)
  const holder = new Map(taken.map(({ id, instance }) => [id, instance]))
  const heldBy = ({ instance }: Member, calls: readonly Call[]) =>
    calls.filter(({ id }) => holder.get(id) === instance)
  const held = fleet.members.map((one) => heldBy(one, [...begun, ...waiting]).length)
  const running = held.reduce((sum, count) => sum + Math.min(count, RUNNING), 0)
  await upstream.calls.take(ran + running)
  const victim = fleet.members.toSorted(
    (a, b) => heldBy(b, waiting).length - heldBy(a, waiting).length,
  )[0]!
  expect(heldBy(victim, waiting).length).toBeGreaterThan(5)
  return { begun, waiting, victim, heldBy, ran }
}

const endsOf = async (calls: readonly Call[]) => {
  const ends = await Promise.all(calls.map(async ({ id, ended }) => [id, await ended] as const))
  return new Map(ends)
}
const failed = async (calls: readonly Call[]): Promise<string[]> =>
  [...(await endsOf(calls))]
    .filter(([, { how }]) => how !== 'completed')
    .map(([id, { how }]) => `${id} ${how}`)

test(
  'killed: only streams that had begun there see it, and they soon',
  { timeout: PATIENCE },
  async () => {
    const { begun, waiting, victim, heldBy } = await load()
    const killedAt = performance.now()
    fleet.end(victim, 'SIGKILL')
    upstream.release()
    const broken = heldBy(victim, begun)
    const lost = heldBy(victim, waiting)
    const ends = await endsOf([...broken, ...lost])
    const tookMs = performance.now() - killedAt
    expect(await failed(waiting)).toEqual([])
    expect(await failed(begun)).toEqual(broken.map(({ id }) => `${id} stream_broken`))
    expect(tookMs).toBeLessThan(NOTICED_MS)
    // A stream's trailers, which say it, fetch does not show.
    const told = lost.filter(({ way, stream }) => way === 'client' || !stream)
    expect(told.map(({ id }) => ends.get(id)?.ambiguous)).toEqual(told.map(() => 1))
    const others = waiting.filter((call) => !lost.includes(call))
    expect([...(await endsOf(others)).values()].filter(({ ambiguous }) => ambiguous > 0)).toEqual(
      [],
    )
  },
)

test('stopped: nobody sees it, and nothing runs twice', { timeout: PATIENCE }, async () => {
  const { begun, waiting, victim, heldBy, ran } = await load()
  const queued = heldBy(victim, waiting).filter(
    ({ id }) => !upstream.calls.all.some(({ name }) => name === id),
  )
  fleet.end(victim, 'SIGTERM')
  // What waited there is taken by others, and so is whatever comes.
  const before = fleet.taken.all.length
  await fleet.taken.take(before + queued.length)
  const later = ask(6, false)
  await fleet.taken.take(before + queued.length + later.length)
  upstream.release()
  expect(await failed([...begun, ...waiting, ...later])).toEqual([])
  expect(await victim.program.exit).toBe(0)
  const names = upstream.calls.all.slice(ran).map(({ name }) => name)
  expect(new Set(names).size).toBe(names.length)
  expect(names.length).toBe(begun.length + waiting.length + later.length)
})

test('made to stand still for 8 s: each caller has one answer', { timeout: PATIENCE }, async () => {
  const { begun, waiting, victim, heldBy } = await load()
  await standStill(victim.program.child.pid!)
  const over = new Promise<void>((resolve) => void clientSystem.after(8_000, resolve))
  // Some of these go to who stands still.
  const later = ask(9, false)
  upstream.release()
  const broken = heldBy(victim, begun)
  expect(await failed(broken)).toEqual(broken.map(({ id }) => `${id} stream_broken`))
  await over
  victim.program.child.kill('SIGCONT')
  expect(await failed([...waiting, ...later])).toEqual([])
  expect(await failed(begun)).toEqual(broken.map(({ id }) => `${id} stream_broken`))
})
