/** `headgate top`: what is going on, once a second. */
import Table from 'cli-table3'
import { Command } from 'commander'
import { HeadgateError } from '#client'
import { snapshot as snapshotSchema, type BucketSnapshot, type Snapshot } from '#contracts/snapshot'
import { dialOptions, withHeadgate, type DialFlags } from './dialing.ts'
import { onStop } from './signals.ts'
import { within } from './system.ts'
import { json, say, tell } from './terminal.ts'

interface TopFlags extends DialFlags {
  once?: true
  json?: true
}

const REFRESH_MS = 1_000
const TENANTS_SHOWN = 10
/** With it the page is 100 columns wide at most. */
const ROUTE_WIDTH = 26

export const top = (): Command =>
  dialOptions(new Command('top'))
    .summary('watch lanes, routes and tenants')
    .description('Shows what one instance is doing, once a second. Ctrl-C ends it.')
    .option('--once', 'show it once')
    .option('--json', 'print the snapshot as JSON, one line per second or, with --once, indented')
    .action((flags: TopFlags) =>
      withHeadgate(flags, async (headgate) => {
        const look = async (): Promise<Snapshot> =>
          snapshotSchema.parse(await headgate.admin('snapshot'))
        if (flags.once === true) return show(await look(), flags)
        await watch(look, flags)
      }),
    )

async function watch(look: () => Promise<Snapshot>, flags: TopFlags): Promise<void> {
  let watching = true
  const leave = Promise.withResolvers<void>()
  onStop(() => {
    watching = false
    leave.resolve()
  })
  while (watching) {
    try {
      show(await Promise.race([look(), leave.promise]), flags)
    } catch (error) {
      if (!(error instanceof HeadgateError)) throw error
      tell(`headgate: ${error.message}`)
    }
    await within(REFRESH_MS, leave.promise)
  }
}

function show(snapshot: Snapshot | void, flags: TopFlags): void {
  if (snapshot === undefined) return
  if (flags.json === true) {
    return flags.once === true ? json(snapshot) : say(JSON.stringify(snapshot))
  }
  const clear = flags.once !== true && process.stdout.isTTY ? '\u001b[2J\u001b[H' : ''
  say(clear + pageOf(snapshot))
}

export function pageOf(of: Snapshot): string {
  const { global } = of
  const words = [
    `headgate ${of.version}  ${of.instance}  up ${Math.round(of.uptime_ms / 1_000)} s`,
    `in flight ${global.inflight} of ${global.limit}  queued ${global.queued}  back-off ${global.backoff}`,
    `level ${global.level}`,
    ...(of.bus.connected ? [] : ['NATS IS AWAY']),
    ...(of.emergency ? ['EMERGENCY'] : []),
    ...(of.draining ? ['DRAINING'] : []),
  ]
  const lanes = table(['lane', 'in flight', 'queued', 'oldest ms', 'guarantee', 'cap', ''])
  for (const lane of of.lanes) {
    const { name, inflight, queued, oldest_ms, guarantee, cap, paused } = lane
    lanes.push([name, inflight, queued, oldest_ms ?? '-', guarantee, cap, paused ? 'paused' : ''])
  }
  const routes = table(['route', 'in flight', 'limit', 'breaker', 'queued', 'wait ms', 'quota'])
  for (const route of of.routes) {
    const { id, limit, limit_state, breaker, inflight, queued, paused_ms, blocked_ms } = route
    const waits = Math.max(paused_ms, blocked_ms)
    routes.push([
      shortened(id),
      `${inflight} of ${limit}`,
      limit_state,
      breaker,
      queued,
      waits === 0 ? '-' : waits,
      scarcest(route.buckets),
    ])
  }
  const tenants = table(['busiest tenants', 'in flight', 'queued'])
  for (const { tenant, inflight, queued } of of.tenants.slice(0, TENANTS_SHOWN))
    tenants.push([tenant, inflight, queued])
  const guardrails = table(['guardrail', 'value', 'below', ''])
  for (const { name, value, bound, met } of of.guardrails)
    guardrails.push([
      name,
      value === null ? '-' : Number(value.toFixed(3)),
      bound,
      met ? 'met' : 'MISSED',
    ])
  const shown = [lanes, routes, tenants, guardrails].filter((one) => one.length > 0)
  return [words.join('  '), ...shown.map((one) => one.toString())].join('\n')
}

/** The end of an id tells routes apart: most begin with the same upstream. */
const shortened = (id: string): string =>
  id.length <= ROUTE_WIDTH ? id : `…${id.slice(1 - ROUTE_WIDTH)}`

/** The dimension of which least is left, in the words of the configuration, as a share of its burst. */
function scarcest(of: Snapshot['routes'][number]['buckets']): string {
  const shares = [
    { name: 'rpm', share: shareOf(of.requests) },
    { name: 'itpm', share: shareOf(of.input_tokens) },
    { name: 'otpm', share: shareOf(of.output_tokens) },
  ]
  const { name, share } = shares.reduce((least, one) => (one.share < least.share ? one : least))
  return share === Infinity ? '-' : `${name} ${Math.round(share * 100)}%`
}

const shareOf = (bucket: BucketSnapshot): number =>
  bucket === null ? Infinity : bucket.level / bucket.burst

const table = (head: string[]): Table.Table =>
  new Table({ head, style: { head: [], border: [], compact: true } })
