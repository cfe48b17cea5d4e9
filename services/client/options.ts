/** Which options there are, so that one that there is none of is told instead of not heard. */
import { isToken, TOKEN_SHAPE } from '#contracts/ids'
import { checkOptionNames, type OptionNames } from '#contracts/known-names'
import type {
  AuxOptions,
  CallOptions,
  EventOptions,
  HeadgateOptions,
  JobWaitOptions,
  RelayOptions,
  ResultOptions,
  SubmitOptions,
} from './contract.ts'
import type { NatsTls, NatsTransportOptions } from './nats-transport.ts'

const headgate: OptionNames<HeadgateOptions> = {
  tenant: true,
  servers: true,
  user: true,
  password: true,
  creds: true,
  tls: true,
  name: true,
  bus: true,
  transport: true,
  inboxPrefix: true,
  subjectPrefix: true,
  lane: true,
  callsMax: true,
  bufferBytesMax: true,
  waitMs: true,
  silenceMs: true,
  watchMs: true,
  system: true,
}

const nats: OptionNames<NatsTransportOptions> = {
  servers: true,
  user: true,
  password: true,
  creds: true,
  tls: true,
  name: true,
  system: true,
}

const tls: OptionNames<NatsTls> = { ca: true, cert: true, key: true }

const call: OptionNames<CallOptions> = {
  lane: true,
  id: true,
  deadlineMs: true,
  degrade: true,
  maxAttempts: true,
  prefix: true,
  again: true,
  headers: true,
  signal: true,
}

const relay: OptionNames<RelayOptions> = { ...call, endWithinMs: true, laneMs: true }
const { again: _, ...ofAny } = call
const submit: OptionNames<SubmitOptions> = { ...ofAny, notBeforeMs: true }
const wait: OptionNames<JobWaitOptions> = { timeoutMs: true, signal: true }
const result: OptionNames<ResultOptions> = { waitMs: true, signal: true }
const aux: OptionNames<AuxOptions> = { headers: true, signal: true, waitMs: true }
const events: OptionNames<EventOptions> = { lane: true, failed: true }
const chunks = { pings: true } as const

const TABLES = { headgate, nats, tls, call, relay, submit, wait, result, aux, events, chunks }

/** Throws a TypeError that says which was meant. `where`: the function, as its caller writes it. */
export function checkNames(kind: keyof typeof TABLES, where: string, given: unknown): void {
  checkOptionNames({ where, given, known: TABLES[kind] })
}

const NUMBERS = ['callsMax', 'bufferBytesMax', 'waitMs', 'silenceMs', 'watchMs'] as const

/** What cannot be is told when the client is made, and not by the first call that stumbles over it. */
export function checkValues(options: HeadgateOptions): void {
  const { lane, servers } = options
  const all: unknown = servers ?? []
  const texts: readonly unknown[] = Array.isArray(all) ? all : [all]
  if (!texts.every((one) => typeof one === 'string'))
    throw new TypeError('servers: expected an address as text, or a list of them')
  if (lane !== undefined && !isToken(lane)) throw new TypeError(`lane: expected ${TOKEN_SHAPE}`)
  for (const name of NUMBERS) {
    const value: unknown = options[name]
    if (value !== undefined && !(typeof value === 'number' && value > 0))
      throw new TypeError(`${name}: expected a number above 0`)
  }
}
