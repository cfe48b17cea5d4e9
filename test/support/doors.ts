/** Intake, outbox and discovery over a bus, before a fake scheduler: memory and NATS alike. */
import { configFile } from '#contracts/config'
import { subjects } from '#contracts/subjects'
import { memoryBus } from '#scheduler/memory/bus'
import type { Bus, BusHeaders, BusMessage, Clock } from '#ports'
import { auxCalls, type AuxCall, type AuxLimits } from '../../services/scheduler/nats/aux-calls.ts'
import { natsBus, type NatsBus } from '../../services/scheduler/nats/connection.ts'
import { discovery } from '../../services/scheduler/nats/discovery.ts'
import { intake } from '../../services/scheduler/nats/intake.ts'
import { outbox } from '../../services/scheduler/nats/outbox.ts'
import { fakeOperator, fakeScheduler } from './fake-scheduler.ts'
import { heard } from './heard.ts'
import type { NatsServer } from './nats-server.ts'
import { systemClock } from '../../services/platform/system.ts'

export const LLM = subjects('llm')

export const REQUEST = LLM.request('acme', 'interactive')

/** A good body, with a prompt that nothing may show. */
export const requestBody = (more: object = {}): string =>
  JSON.stringify({
    model: 'claude-x',
    max_tokens: 10,
    messages: [{ role: 'user', content: 'the secret prompt' }],
    ...more,
  })
export const SMALL_MAX_PAYLOAD = 200_000

export interface World {
  kind: 'nats' | 'memory'
  /** Another connection to the same subjects. */
  connect(): Promise<Bus>
  stop(): Promise<void>
}

export function memoryWorld(): World {
  const bus = memoryBus({ maxPayload: SMALL_MAX_PAYLOAD })
  return { kind: 'memory', connect: async () => bus, stop: () => bus.close() }
}

export function natsWorld(server: NatsServer) {
  const open: NatsBus[] = []
  const drops = heard<string>()
  const world: World & { away(): Promise<unknown> } = {
    kind: 'nats',
    /** Every connection has noticed that the server is gone. */
    away: () => drops.take(open.length * 3),
    async connect() {
      const bus = await natsBus({
        servers: server.url,
        name: 'test',
        egressConnections: 2,
        clock: systemClock,
        // More than the 300 ms within which every connection is back.
        settleMs: 600,
      })
      open.push(bus)
      bus.onStatus(({ kind }) => kind === 'disconnected' && drops.add(kind))
      return bus
    },
    async stop() {
      await Promise.all(open.map((bus) => bus.close()))
    },
  }
  return world
}

/** One instance of the scheduler's doors. */
export async function instance(
  world: World,
  of: {
    id: string
    clock?: Clock
    aux?: AuxCall
    requestBytes?: number
    auxLimits?: Partial<AuxLimits>
  },
) {
  const bus = await world.connect()
  const clock = of.clock ?? systemClock
  const scheduler = fakeScheduler()
  const file = configFile.parse({})
  const out = outbox({ bus, clock, pingMs: () => file.nats.ping_ms })
  bus.onNobody((probe) => {
    for (const { tenant, id } of out.gone(probe)) scheduler.gone(tenant, id)
  })
  let made = 0
  const errors = heard<unknown>()
  const door = intake({
    bus,
    subjects: LLM,
    scheduler,
    operator: fakeOperator(of.id),
    outbox: out,
    clock,
    makeId: () => `made_${++made}`,
    instance: of.id,
    limits: () => ({
      requestBytes: of.requestBytes ?? 8_000_000,
      replyPrefixes: file.nats.reply_prefixes,
    }),
    aux: auxCalls({
      clock,
      call: of.aux ?? (async () => ({ status: 200, requestId: null, body: new Uint8Array(0) })),
      limits: () => ({
        inflightMax: 8,
        queuedMax: 64,
        queuedBytesMax: 1_000_000,
        waitMs: 10_000,
        timeoutMs: 30_000,
        ...of.auxLimits,
      }),
    }),
    onError: (error) => errors.add(error),
  })
  const service = discovery({ bus, clock, id: of.id, version: '0.1.0', endpoints: door.endpoints })
  await bus.flush()
  return { bus, scheduler, out, door, service, errors }
}

/** A caller without our client: publishes and writes down what comes back. */
export async function caller(world: World) {
  const bus = await world.connect()
  let asked = 0
  const inbox = `_INBOX.test${Math.trunc(performance.now() * 1000)}`
  return {
    bus,
    inbox,
    async ask(subject: string, body: Uint8Array | string, headers: BusHeaders = []) {
      const reply = `${inbox}.${++asked}`
      const messages = heard<BusMessage>()
      const subscription = bus.subscribe(reply, (message) => messages.add(message))
      bus.publish(subject, body, { reply, headers })
      await bus.flush()
      return { reply, messages, subscription }
    },
  }
}

export const textOf = (message: BusMessage | undefined): string =>
  Buffer.from(message?.data ?? []).toString()
export const jsonOf = (message: BusMessage | undefined): Record<string, unknown> =>
  JSON.parse(textOf(message)) as Record<string, unknown>

/** An error's JSON, and its status header. */
export function errorOf(message: BusMessage | undefined) {
  const json = jsonOf(message) as {
    error: { type: string; message: string }
    headgate: { code: string; retryable: boolean; retry_after_ms: number | null; attempts: number }
    request_id: string
    type: string
  }
  return { ...json, status: message?.header('Nats-Service-Error-Code') }
}

type Side = { bus: Pick<Bus, 'flush'> }

/** Everything published so far has been handled on both sides, and what that published too. */
export async function settle(ours: Side, theirs: Side): Promise<void> {
  for (const { bus } of [theirs, ours, theirs]) await bus.flush()
}
