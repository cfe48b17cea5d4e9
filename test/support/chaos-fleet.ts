/** A fleet to hurt: schedulers as processes of their own, each behind wires of its own to a NATS cluster, all in front of
 *  one upstream that keeps the books. Users ask at each member's HTTP door, so that a member that is cut off from NATS
 *  is asked like the others. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { snapshot, type FleetNow } from '#contracts/snapshot'
import { readRecord, type FleetRecord } from '#scheduler/fleet/record'
import { bodyOf } from './fleet.ts'
import { ledgerUpstream, type LedgerUpstream } from './ledger-upstream.ts'
import { natsCluster, type NatsCluster } from './nats-cluster.ts'
import { launch, type Program } from './program.ts'
import { freePort } from './stack.ts'
import { wiresTo, type Wires } from './wires.ts'

export interface ChaosMember {
  readonly name: string
  readonly wires: Wires
  readonly alive: boolean
  /** How many calls its users want to have open. */
  wants: number
  /** What its users' calls ended with: `completed`, the code of a refusal, or `none`. */
  readonly ends: ReadonlyMap<string, number>
  /** What it says of the fleet; null: it does not answer now. */
  told(): Promise<FleetNow | null>
  /** It stands still, until `goOn`. */
  freeze(): void
  goOn(): void
  kill(): Promise<void>
  /** Again, under its name, at its ports. */
  start(): Promise<void>
  /** It ends as it is meant to, when its calls have ended; its users go at once. */
  leave(): Promise<void>
}

export interface ChaosFleet {
  readonly cluster: NatsCluster
  readonly ledger: LedgerUpstream
  readonly members: readonly ChaosMember[]
  /** As it is kept now; null: it is lost, or does not come. */
  record(): Promise<FleetRecord | null>
  /** One more. */
  join(name: string): Promise<ChaosMember>
  close(): Promise<void>
}

export interface ChaosFleetOptions {
  members: number
  /** The global limit. */
  limit: number
  /** The quota of the one route; null: none. */
  rpm: number | null
  serviceMs: () => number
}

/** The stream of the fleet's record. */
export const SHARES = 'KV_headgate_fleet_llm'
const SHARES_SUBJECT = '$KV.headgate_fleet_llm.shares'

const MODEL = bodyOf('', false).model
/** After a call that was not answered its user waits. */
const AGAIN_AFTER_MS = 250
const TOLD_WITHIN_MS = 1_000

const yamlOf = ({ limit, rpm }: ChaosFleetOptions): string =>
  [
    `llm_gateway: { max_inflight_global: ${limit}, max_inflight_per_tenant: ${limit} }`,
    `concurrency_limit: { initial: ${limit}, ceiling: ${limit} }`,
    'jobs: { replicas: 3 }',
    ...(rpm === null ? [] : [`routes: [{ model: ${MODEL}, rpm: ${rpm} }]`]),
    '',
  ].join('\n')

export async function openChaosFleet(of: ChaosFleetOptions): Promise<ChaosFleet> {
  const dir = await mkdtemp(join(tmpdir(), 'headgate-chaos-'))
  const config = join(dir, 'headgate.yaml')
  await writeFile(config, yamlOf(of))
  const [ledger, cluster] = await Promise.all([ledgerUpstream(of), natsCluster()])
  const members: ChaosMember[] = []
  // Whatever ends us ends them, also those that stand still.
  const atExit = (): void => members.forEach((one) => void one.kill())
  process.once('exit', atExit)
  const joinAs = async (name: string): Promise<ChaosMember> => {
    const member = await memberOf({ name, config, ledger, ports: cluster.ports })
    members.push(member)
    await member.start()
    return member
  }
  const close = async (): Promise<void> => {
    process.off('exit', atExit)
    await Promise.all(members.map((one) => one.kill()))
    await Promise.all(members.map(({ wires }) => wires.close()))
    await Promise.all([ledger.close(), cluster.close()])
    await rm(dir, { recursive: true, force: true })
  }
  try {
    await Promise.all(Array.from({ length: of.members }, (_, i) => joinAs(`m${i}`)))
  } catch (error) {
    await close()
    throw error
  }
  const record = async (): Promise<FleetRecord | null> => {
    const text = await cluster.lastOf(SHARES, SHARES_SUBJECT)
    return text === null ? null : readRecord(text).record
  }
  return { cluster, ledger, members, record, join: joinAs, close }
}

async function memberOf(of: {
  name: string
  config: string
  ledger: LedgerUpstream
  ports: readonly number[]
}): Promise<ChaosMember> {
  const { name } = of
  const [wires, http, door] = await Promise.all([wiresTo(of.ports), freePort(), freePort()])
  let program: Program | null = null
  let alive = false
  const ends = new Map<string, number>()
  const users = usersOf(`http://127.0.0.1:${door}`, ends)
  const member: ChaosMember = {
    ...{ name, wires, ends },
    get alive() {
      return alive
    },
    get wants() {
      return users.wants
    },
    set wants(many) {
      users.ask(many)
    },
    told: () => toldBy(`http://127.0.0.1:${http}`),
    freeze: () => void program?.child.kill('SIGSTOP'),
    goOn: () => void program?.child.kill('SIGCONT'),
    async kill() {
      alive = false
      users.ask(0)
      await program?.kill()
    },
    async start() {
      const started = launch('scheduler', {
        NATS_URL: wires.ports.map((port) => `nats://127.0.0.1:${port}`).join(','),
        ...{ HEADGATE_CONFIG: of.config, LOG_LEVEL: 'error', HEADGATE_FLEET_MEMBER: name },
        ...{ ANTHROPIC_BASE_URL: of.ledger.urlOf(name), ANTHROPIC_API_KEY: 'sk-chaos' },
        ...{ HEADGATE_GATEWAY: 'on', HEADGATE_GATEWAY_PORT: String(door) },
        HEADGATE_HTTP_PORT: String(http),
      })
      program = started
      const ready = await Promise.race([started.told, started.exit])
      if (typeof ready !== 'object' || ready.type === 'failed')
        throw new Error(`${name} did not start: ${started.output()}`)
      alive = true
    },
    async leave() {
      alive = false
      users.ask(0)
      program?.child.kill('SIGTERM')
      await program?.exit
    },
  }
  return member
}

/** Each of so many has one call open at a time; who is one too many goes when its call has ended. */
function usersOf(url: string, ends: Map<string, number>) {
  let [wants, open, asked] = [0, 0, 0]
  const user = async (): Promise<void> => {
    open++
    while (open <= wants) {
      const how = await askAt(url, `u${asked++}`)
      ends.set(how, (ends.get(how) ?? 0) + 1)
      if (how !== 'completed') await new Promise((resolve) => setTimeout(resolve, AGAIN_AFTER_MS))
    }
    open--
  }
  return {
    get wants() {
      return wants
    },
    ask(many: number): void {
      wants = many
      while (open < wants) void user()
    },
  }
}

async function askAt(url: string, name: string): Promise<string> {
  try {
    const body = JSON.stringify(bodyOf(name, false))
    const answer = await fetch(`${url}/v1/messages`, { method: 'POST', body })
    const text = await answer.text()
    if (answer.status === 200) return 'completed'
    return /"headgate":\{"code":"(\w+)"/.exec(text)?.[1] ?? String(answer.status)
  } catch {
    return 'none'
  }
}

async function toldBy(url: string): Promise<FleetNow | null> {
  try {
    const signal = AbortSignal.timeout(TOLD_WITHIN_MS)
    const answer = await fetch(`${url}/api/snapshot`, { signal })
    return snapshot.parse(await answer.json()).fleet
  } catch {
    return null
  }
}
