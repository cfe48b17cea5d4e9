/** This instance's part in a fleet, put together with the loop that obeys it and the bus that carries its news. */
import { createHash } from 'node:crypto'
import type { Config } from '#contracts/config'
import { makeId } from '#contracts/ids'
import { SCHEDULER_USER } from '#contracts/permissions'
import type { FleetNow, Snapshot } from '#contracts/snapshot'
import type { Subjects } from '#contracts/subjects'
import type { WholeFleet } from '#contracts/whole-fleet'
import type { Bus, Clock, Dice, FleetStore, HeadgateEvent, Millis } from '#ports'
import { demandOf } from '#scheduler/fleet/demand'
import { FleetLooks } from '#scheduler/fleet/looks'
import type { FleetLine } from '#scheduler/fleet/record'
import { Membership } from '#scheduler/fleet/membership'
import type { MembershipNews } from '#scheduler/fleet/view'
import { newsIn } from '#scheduler/fleet/news'
import type { FleetNews } from '#scheduler/loop/fleet-news'
import type { Loop } from '#scheduler/loop/loop'
import { PARTS } from '#core/laws/route-shares'
import { NONE } from '#core/model/share'
import { within } from './within.ts'

/** Whoever is there answers by then. */
const HELLO_MS: Millis = 300
/** Without a share nobody is served: the first one is waited for, but not for ever. */
const FIRST_MS: Millis = 3_000

export interface WiredFleet {
  /** What the loop has to say to the others. */
  tell(news: FleetNews): void
  open(): Promise<void>
  now(): FleetNow
  /** What all members do just now; asks them. */
  whole(): Promise<WholeFleet>
  /** It takes nothing new: what it holds goes to the others as its attempts end. */
  drain(): void
  close(): Promise<void>
}

export interface FleetParts {
  store: FleetStore
  loop: () => Loop
  bus: Bus
  subjects: Subjects
  clock: Clock
  dice: Dice
  instance: string
  name: string
  version: string
  snapshot: () => Snapshot
  process?: string
  isGone?: (process: string) => boolean
  record: (event: HeadgateEvent) => void
  warn: (words: string) => void
}

export function wireFleet(of: FleetParts): WiredFleet {
  const { bus, subjects, instance, clock } = of
  const membership = new Membership({
    store: of.store,
    ...{ clock, dice: of.dice },
    ...{ name: of.name, incarnation: instance, version: of.version },
    ...(of.process === undefined ? {} : { process: of.process }),
    ...(of.isGone === undefined ? {} : { isGone: of.isGone }),
    demand() {
      const { state } = of.loop()
      return demandOf({ state, limits: of.loop().words(), config: fingerprint(state.config) })
    },
    onShare: (share) => of.loop().share(share),
    onLimit: (route, word) => of.loop().hear({ kind: 'limit', route, word }),
    anybody: () => anybody({ bus, subjects, clock, instance }),
    news(news) {
      if (news.kind === 'trouble') of.warn(`fleet: ${news.reason}`)
      if (news.kind === 'superseded')
        of.warn(
          `fleet: another process has the name ${news.member}; give each a fleet.member of its own`,
        )
      const event = eventOf(news, clock.wall())
      if (event !== null) of.record(event)
    },
  })
  const looks = new FleetLooks({
    ...{ bus, clock, snapshot: of.snapshot, subject: subjects.admin('snapshot') },
    inbox: () => inboxIn(of.loop().state.config, of.dice),
  })
  const heard = [
    bus.subscribe(subjects.peerFleet, ({ data }) => {
      const news = newsIn(data)
      if (news !== null && news.by !== instance) of.loop().hear(news.news)
    }),
    bus.subscribe(subjects.peerHello, ({ data, reply }) => {
      if (reply === undefined || !membership.joined) return
      if (new TextDecoder().decode(data) !== instance) bus.publish(reply, instance)
    }),
  ]
  return {
    tell: (news) => bus.publish(subjects.peerFleet, JSON.stringify({ by: instance, news })),
    async open() {
      of.loop().share(NONE)
      await within(clock, FIRST_MS, membership.open())
    },
    now: () => nowOf(membership, clock),
    whole: () => looks.read(),
    drain: () => membership.drain(),
    async close() {
      looks.close()
      await membership.leave()
      for (const one of heard) await one.drain()
      await of.store.close()
    },
  }
}

/** Where members may answer us: they allow what we do. One that NATS keeps from all others, where there is one. */
function inboxIn({ file }: Config, dice: Dice): string {
  const { reply_prefixes: allowed } = file.nats
  const own = allowed.find((prefix) => prefix.startsWith('_INBOX_<tenant>.'))
  const open = allowed.find((prefix) => !prefix.includes('<tenant>'))
  const prefix = (own ?? open ?? '_INBOX.').replaceAll('<tenant>', SCHEDULER_USER)
  return prefix + makeId(() => dice.next())
}

const prints = new WeakMap<Config, string>()

/** Of what all members must agree on; keys are never in it. */
function fingerprint(config: Config): string {
  const known = prints.get(config)
  if (known !== undefined) return known
  const { lanes, tenantCap, maxInflight, breaker, routes, routeDefaults, emergency } = config
  const { concurrency_limit, scheduling, preemption } = config.file
  const tenants = [...config.tenants.named].toSorted(([a], [b]) => (a < b ? -1 : 1))
  const text = JSON.stringify([
    ...[lanes, tenantCap, maxInflight, breaker, routes, routeDefaults, emergency],
    ...[concurrency_limit, scheduling, preemption, tenants, config.tenants.default],
    [...config.prices].map(([name, { tiers, ...price }]) => [name, price, [...tiers]]),
  ])
  const print = createHash('sha256').update(text).digest('base64url').slice(0, 12)
  prints.set(config, print)
  return print
}

/** Whether any instance answers that has joined. */
function anybody(of: {
  bus: Bus
  subjects: Subjects
  clock: Clock
  instance: string
}): Promise<boolean> {
  const { bus, subjects, clock, instance } = of
  return new Promise((resolve) => {
    const reply = `${subjects.peerHello}.${instance}`
    const answers = bus.subscribe(reply, () => end(true))
    const stop = clock.after(HELLO_MS, () => end(false))
    const end = (there: boolean): void => {
      stop()
      void answers.drain()
      resolve(there)
    }
    bus.publish(subjects.peerHello, instance, { reply })
  })
}

function eventOf(news: MembershipNews, at: number): HeadgateEvent | null {
  if (news.kind === 'trouble') return null
  return { name: 'fleet', at, data: { what: news.kind, member: news.member } }
}

function nowOf(membership: Membership, clock: Clock): FleetNow {
  const { view } = membership
  const own = view.members.find((one) => one.own)
  return {
    member: view.name,
    whole: view.whole,
    lapses: view.lapses,
    lapsed: view.lapsed,
    usable: view.usable,
    name_taken: view.nameTaken,
    trouble: view.reason,
    members: view.members.map(({ name, line, standing, silentFor, own: mine }) => ({
      member: name,
      instance: line.incarnation,
      version: line.version,
      standing: line.leaving && standing === 'alive' ? 'leaving' : standing,
      own: mine,
      share: line.held,
      want: line.want,
      inflight: line.inflight,
      routes: routesOf(line),
      heard_ms: Math.round(mine ? 0 : silentFor),
      config_differs: own !== undefined && line.config !== own.line.config,
    })),
    at: Math.round(clock.wall()),
  }
}

const routesOf = ({ routes = {} }: FleetLine): NonNullable<FleetNow['members'][number]['routes']> =>
  Object.fromEntries(
    Object.entries(routes).map(([route, { held, want }]) => [
      route,
      { share: Number((held / PARTS).toFixed(3)), want: Number((want / PARTS).toFixed(3)) },
    ]),
  )
