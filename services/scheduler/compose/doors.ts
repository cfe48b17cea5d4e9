/** The doors of a scheduler: where requests come in, where operators look and ask, and what tells others of it. */
import { makeId } from '#contracts/ids'
import { refusal } from '#contracts/messages'
import type { Subjects } from '#contracts/subjects'
import { pageFiles } from '#dashboard'
import type { Inspection } from '#machines/inspection'
import { statelyMessages } from '#machines/stately-messages'
import { watchConfig } from '#platform/config/watch'
import type { Bus } from '#ports'
import { dashboardDoor } from '#scheduler/http/dashboard-door'
import { startHttp } from '#scheduler/http/server'
import type { Loop } from '#scheduler/loop/loop'
import { memoryBus } from '#scheduler/memory/bus'
import { auxCalls, type AuxCalls } from '#scheduler/nats/aux-calls'
import { discovery, type Discovery } from '#scheduler/nats/discovery'
import { intake, type Intake } from '#scheduler/nats/intake'
import { outbox } from '#scheduler/nats/outbox'
import type { Observers } from './observers.ts'
import type { OperatorService } from './operator-service.ts'
import type { Standing, WireOptions } from './options.ts'
import type { upstreams } from './upstreams.ts'
import type { WiredJobs } from './wire-jobs.ts'
import { wireGateway } from './wire-gateway.ts'

export interface DoorsOf {
  of: WireOptions
  instance: string
  subjects: Subjects
  standing: Standing
  loop: Loop
  seen: Observers
  desk: OperatorService
  upstream: ReturnType<typeof upstreams>
  jobs: WiredJobs | null
}

/** A port that is served. */
interface Served {
  readonly url: string
  close(): Promise<void>
}

export interface Doors {
  readonly aux: AuxCalls
  /** Requests over the bus. */
  readonly main: Intake
  /** The same for the HTTP door of this process, over a bus that never leaves it; null: it has none of its own. */
  readonly local: Intake | null
  readonly found: Discovery
  /** Null: no file to watch. */
  readonly watched: { close(): void } | null
  readonly http: Served | null
  readonly gateway: Served | null
  readonly inspector: Served | null
}

export async function openDoors(of: DoorsOf, inspected: Inspection | null): Promise<Doors> {
  const { bus } = of.of
  const aux = auxOf(of)
  const main = intakeOn(bus, aux, of)
  const found = discovery({
    bus,
    clock: of.of.clock,
    id: of.instance,
    version: of.of.version,
    endpoints: main.endpoints,
    metadata: () => (of.standing.leaving ? { draining: 'true' } : {}),
  })
  const watched = watchedFile(of)
  const http = await operatorsPort(of)
  const own = bus.kind === 'memory' ? bus : memoryBus()
  const local = of.of.gateway == null || own === bus ? null : intakeOn(own, aux, of)
  const gateway = await httpDoor(of, own)
  const inspector = await inspectDoor(of.of, inspected)
  return { aux, main, local, found, watched, http, gateway, inspector }
}

/** `count_tokens` and `models`: beside the lanes, within bounds of their own. */
function auxOf({ of, loop, upstream }: DoorsOf): AuxCalls {
  return auxCalls({
    clock: of.clock,
    limits() {
      const now = loop.state.config.file
      return {
        inflightMax: now.aux_inflight_max,
        queuedMax: now.aux_queued_max,
        queuedBytesMax: now.aux_queued_bytes,
        waitMs: now.aux_wait_ms,
        timeoutMs: now.aux_timeout_ms,
      }
    },
    mayAsk(tenant) {
      const { tenants } = loop.state.config
      return tenants.unknown === 'reject' && tenant !== 'default' && !tenants.named.has(tenant)
        ? refusal('forbidden', 'the tenant is not in the configuration')
        : null
    },
    call: ({ tenant: _, ...call }) =>
      of.provider.aux({ ...call, upstream: upstream(loop.state.config.routeDefaults.upstream) }),
  })
}

function intakeOn(bus: Bus, aux: AuxCalls, { of, loop, seen, desk, ...more }: DoorsOf): Intake {
  const { clock } = of
  const out = outbox({ bus, clock, pingMs: () => loop.state.config.file.nats.ping_ms })
  bus.onNobody((probe) => {
    for (const { tenant, id } of out.gone(probe)) loop.gone(tenant, id)
  })
  return intake({
    bus,
    subjects: more.subjects,
    scheduler: loop,
    operator: desk.operator,
    outbox: out,
    clock,
    makeId: () => makeId(() => of.dice.next()),
    instance: more.instance,
    limits: () => {
      const now = loop.state.config.file
      return {
        requestBytes: now.limits.request_bytes,
        scan: { depthMax: now.limits.json_depth, valuesMax: now.limits.json_values },
        prefixes: now.scheduling.prefix_wait_ms > 0,
        replyPrefixes: now.nats.reply_prefixes,
      }
    },
    aux,
    jobs: more.jobs?.desk ?? null,
    batches: more.jobs?.batches?.desk ?? null,
    onError: (error) => seen.fault('intake', error),
    run: (handle) => seen.marks.run('intake', handle),
  })
}

function watchedFile({ of, seen, desk, standing }: DoorsOf): { close(): void } | null {
  if (of.configPath === null) return null
  return watchConfig({
    path: of.configPath,
    text: of.loaded.text,
    emergency: desk.emergency,
    clock: of.clock,
    run: (check) => seen.marks.run('config', check),
    onFault: (error) => seen.fault('config', error),
    onChange(change) {
      standing.configRefused = !change.ok
      if (!change.ok) {
        const why = change.error.message
        of.log.error(`the changed configuration is refused, the old one stays: ${why}`)
        return
      }
      const { changed } = desk.apply(change.loaded)
      const what = changed === '' ? 'nothing that counts before the next start' : changed
      of.log.info(`the changed configuration is in force: ${what}`)
    },
  })
}

async function operatorsPort({ of, seen, desk }: DoorsOf): Promise<Served | null> {
  if (of.http === null) return null
  const { panel, dashboard } = seen
  return startHttp({
    ...of.http,
    operator: desk.operator,
    recorder: seen.recording,
    metrics: seen.metrics,
    clock: of.clock,
    ...(panel === null ? {} : { fault: (ask) => panel.set(ask) }),
    mount(app) {
      if (dashboard !== null) dashboardDoor(app, { files: pageFiles(), feed: dashboard })
    },
    ready: () => seen.doors(),
    onFault: (error) => seen.fault('http', error),
  })
}

async function httpDoor(of: DoorsOf, bus: Bus): Promise<Served | null> {
  const { loop, seen, desk, standing } = of
  if (of.of.gateway == null) return null
  return wireGateway({
    ...of.of.gateway,
    bus,
    file: () => loop.state.config.file,
    timeoutOf: (lane) => loop.state.lanesByName.get(lane)?.config.timeoutMs ?? null,
    keys: () => desk.keys(),
    ready: () => (standing.draining ? ['draining'] : []),
    clock: of.of.clock,
    dice: of.of.dice,
    onFault: (error) => seen.fault('http', error),
  })
}

/** Loaded where it is asked for. */
async function inspectDoor(
  { inspectPort: port = null, clock }: WireOptions,
  inspected: Inspection | null,
): Promise<Served | null> {
  if (port === null || inspected === null) return null
  const source = statelyMessages(inspected, { wall: () => clock.wall() })
  const { startInspectDoor } = await import('#scheduler/http/inspect-door')
  return startInspectDoor({ port, source })
}
