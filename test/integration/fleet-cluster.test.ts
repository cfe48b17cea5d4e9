/** Schedulers behind three nats-servers in a cluster, each a process of its own, as examples/fleet.ts starts them: a
 *  server that is killed costs a moment, and no limit is exceeded for it. */
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { jetstreamManager } from '@nats-io/jetstream'
import { connect } from '@nats-io/transport-node'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { clientSystem, connectHeadgate, type Headgate } from '#client'
import { snapshot } from '#contracts/snapshot'
import { startFleet, type FleetMember, type LocalFleet } from '../../examples/fleet.ts'
import { findNatsServer } from '../../services/cli/nats-server.ts'
import { body, endOf } from '../support/house.ts'

const WHOLE = 12
const SHARES = 'KV_headgate_fleet_llm'
/** From a server's death until a new request over NATS is answered; of it 4 s are for a leader to be missed. */
const SERVED_WITHIN_MS = 15_000

let dir: string
let fleet: LocalFleet
let client: Headgate
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'headgate-cluster-'))
  fleet = await startFleet({
    schedulers: 2,
    natsServer: await program(),
    yaml: `llm_gateway: { max_inflight_global: ${WHOLE}, timeout_ms: 60000 }\n`,
    provider: { ttftMs: 100, tokensPerSecond: 0, outputTokens: 12 },
  })
  client = await connectHeadgate({ servers: fleet.servers.map(({ url }) => url), tenant: 'acme' })
}, 40_000)
afterAll(async () => {
  await client?.close()
  await fleet?.stop(null)
  await rm(dir, { recursive: true, force: true })
}, 20_000)

async function program(): Promise<string> {
  const { program: found, reason } = await findNatsServer()
  if (found === null) throw new Error(`integration tests need a nats-server: ${reason}`)
  if ('path' in found) return found.path
  const path = join(dir, 'nats-server')
  await writeFile(path, found.bytes)
  await chmod(path, 0o700)
  return path
}

const recordOf = async (http: string) =>
  snapshot.parse(await (await fetch(`${http}/api/snapshot`)).json()).fleet ?? { members: [] }

/** Of what one member read of the record at one time: two that are asked one after the other may both name a slot
 *  that went from one to the other meanwhile. */
async function sharesSeenBy({ http }: FleetMember): Promise<number[]> {
  const { members } = await recordOf(http)
  return members.map(({ share }) => share)
}
const sums: number[] = []
/** Whether all see that all have a share. */
async function sharesLooked(): Promise<boolean> {
  const views = await Promise.all(fleet.members.map(sharesSeenBy))
  sums.push(...views.map((shares) => shares.reduce((sum, one) => sum + one, 0)))
  return views.every((shares) => shares.filter((one) => one > 0).length === fleet.members.length)
}

const moment = (ms: number) => new Promise<void>((done) => void clientSystem.after(ms, done))
let asked = 0
const byClient = () => endOf(client.request(body(), { id: `r${asked++}`, deadlineMs: 5_000 }))
const byDoor = async ({ door }: FleetMember): Promise<number> => {
  const call = { method: 'POST', body: JSON.stringify(body()) }
  const answer = await fetch(`${door}/v1/messages`, call)
  await answer.text()
  return answer.status
}
const times = <T>(count: number, ask: () => Promise<T>) =>
  Promise.all(Array.from({ length: count }, ask))

test('all are served, and a server that is killed costs a moment', async () => {
  const { members, servers } = fleet
  while (!(await sharesLooked())) await moment(50)
  const named = (await recordOf(members[0]!.http)).members.map(({ member }) => member)
  expect(named.toSorted()).toEqual(members.map(({ name }) => name))
  expect(await times(30, byClient)).toEqual(Array(30).fill('completed'))

  const leader = await leaderOf(SHARES)
  const killed = servers.find(({ name }) => name === leader)!
  process.kill(killed.pid, 'SIGKILL')
  const killedAt = performance.now()
  // Beside a scheduler the door needs no NATS.
  const doors = times(5, () => Promise.all(members.map(byDoor)))
  while ((await byClient()) !== 'completed') {
    await sharesLooked()
    await moment(100)
  }
  const servedAfterMs = performance.now() - killedAt
  expect((await doors).flat()).toEqual(Array(10).fill(200))
  expect(servedAfterMs).toBeLessThan(SERVED_WITHIN_MS)

  // The members write their record again, at the two that are left.
  const left = servers.filter((one) => one !== killed).map(({ url }) => url)
  let first: number | null = null
  let last: number | null = null
  while (first === null || last === null || last === first) {
    await sharesLooked()
    await moment(200)
    last = await writesOf(left)
    first ??= last
  }
  expect(await times(30, byClient)).toEqual(Array(30).fill('completed'))
  await sharesLooked()
  expect(Math.max(...sums)).toBeLessThanOrEqual(WHOLE)
  expect(Math.max(...sums)).toBeGreaterThan(WHOLE / 2)
  const { peak } = (await (await fetch(`${fleet.upstream}/_sim/stats`)).json()) as { peak: number }
  expect(peak).toBeLessThanOrEqual(WHOLE)
  expect(peak).toBeGreaterThan(WHOLE / 2)
}, 40_000)

async function leaderOf(stream: string): Promise<string | undefined> {
  const nc = await connect({ servers: fleet.servers.map(({ url }) => url) })
  try {
    const { cluster, config } = await (await jetstreamManager(nc)).streams.info(stream)
    expect(config.num_replicas).toBe(3)
    return cluster?.leader
  } finally {
    await nc.close()
  }
}

/** Null: there is no leader to ask yet. */
async function writesOf(servers: string[]): Promise<number | null> {
  const nc = await connect({ servers })
  try {
    const manager = await jetstreamManager(nc, { timeout: 1_000 })
    return (await manager.streams.info(SHARES)).state.last_seq
  } catch {
    return null
  } finally {
    await nc.close()
  }
}
