/** A scheduler dies at each point of a job's life: killed at the very message, as a process of its own. Another one
 *  finds the job, ends it once, and says which of its calls may have run twice. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect, headers, type NatsConnection } from '@nats-io/transport-node'
import { describe, expect, test, vi } from 'vitest'
import { HEADER } from '#contracts/messages'
import {
  startSimulatedProvider,
  type SimulatedProvider,
} from '../../services/simulated-provider/listener.ts'
import { natsServer, type NatsServer } from '../support/nats-server.ts'
import { natsTap, type NatsTap } from '../support/nats-tap.ts'
import { launch, type Program } from '../support/program.ts'
import { standStill } from '../support/stand-still.ts'

const PATIENCE = 60_000
const QUICK = { ttftMs: 0, tokensPerSecond: 0, outputTokens: 2 }
const BODY = JSON.stringify({
  model: 'claude-sonnet-4-5',
  max_tokens: 16,
  messages: [{ role: 'user', content: 'an order' }],
})

/** A place of its own for one test: a server, a provider, schedulers, and everything that a result says. */
class Place {
  readonly results: { id: string; outcome: string; ambiguous: number }[] = []
  readonly provider: SimulatedProvider
  readonly nats: NatsServer
  readonly nc: NatsConnection
  readonly tap: NatsTap
  readonly #dir: string
  readonly #programs: Program[] = []
  #heard = (): void => {}

  private constructor(of: {
    provider: SimulatedProvider
    nats: NatsServer
    nc: NatsConnection
    tap: NatsTap
    dir: string
  }) {
    this.provider = of.provider
    this.nats = of.nats
    this.nc = of.nc
    this.tap = of.tap
    this.#dir = of.dir
    const said = (name: string, of: ReturnType<typeof headers> | undefined) => of?.get(name) ?? ''
    this.nc.subscribe('llm.v1.result.>', {
      callback: (_, { subject, headers: of }) => {
        const ambiguous = Number(said(HEADER.ambiguous, of) || 0)
        const id = subject.split('.').at(-1) ?? ''
        this.results.push({ id, outcome: said(HEADER.outcome, of), ambiguous })
        this.#heard()
      },
    })
  }

  static async open(simulated: object = QUICK): Promise<Place> {
    const dir = await mkdtemp(join(tmpdir(), 'headgate-killed-'))
    const provider = await startSimulatedProvider(simulated)
    const nats = await natsServer({ dir })
    const nc = await connect({ servers: nats.url, maxReconnectAttempts: -1 })
    return new Place({ provider, nats, nc, tap: await natsTap(nats.port), dir })
  }

  async scheduler(of: { tapped?: boolean; config?: string } = {}): Promise<Program> {
    const env: Record<string, string> = {
      NATS_URL: of.tapped === true ? this.tap.url : this.nats.url,
      ANTHROPIC_BASE_URL: this.provider.url,
      ANTHROPIC_API_KEY: 'sk-planted-key',
      HEADGATE_HTTP_PORT: '0',
    }
    if (of.config !== undefined) {
      env['HEADGATE_CONFIG'] = join(this.#dir, 'headgate.yaml')
      await writeFile(env['HEADGATE_CONFIG'], of.config)
    }
    const program = launch('scheduler', env)
    this.#programs.push(program)
    const told = await program.told
    if (told.type === 'failed') throw new Error(told.message)
    return program
  }

  /** Null: no receipt came. */
  async submit(id: string, more: Record<string, string> = {}): Promise<object | null> {
    const all = headers()
    for (const [name, value] of Object.entries({ [HEADER.id]: id, ...more })) all.set(name, value)
    const asked = this.nc.request('llm.v1.submit.acme.batch', BODY, {
      ...{ headers: all, timeout: 3_000 },
    })
    return asked.then(
      (answer) => answer.json<object>(),
      () => null,
    )
  }

  state = async (id: string): Promise<string> =>
    this.nc
      .request(`llm.v1.status.acme.${id}`, '', { timeout: 2_000 })
      .then((answer) => answer.json<{ state?: string }>().state ?? '')
      .catch(() => '')

  async until(is: () => boolean | Promise<boolean>): Promise<void> {
    await vi.waitFor(
      async () => {
        if (!(await is())) throw new Error('it never became so')
      },
      { timeout: PATIENCE, interval: 20 },
    )
  }

  /** Resolves with the job's result; there is never a second one. */
  async result(id: string): Promise<{ outcome: string; ambiguous: number }> {
    const found = () => this.results.filter((one) => one.id === id)
    if (found().length === 0)
      await new Promise<void>((resolve) => {
        this.#heard = () => found().length > 0 && resolve()
      })
    expect(found()).toHaveLength(1)
    const { outcome, ambiguous } = found()[0]!
    return { outcome, ambiguous }
  }

  /** Calls that the provider carried out. */
  executed(): number {
    return this.provider.ledger().entries.filter(({ executed }) => executed).length
  }

  async close(): Promise<void> {
    await Promise.all(this.#programs.map((one) => one.kill()))
    await this.nc.close()
    await this.tap.close()
    await this.nats.stop('SIGKILL')
    await this.provider.close()
    await rm(this.#dir, { recursive: true, force: true })
  }
}

const kill = (program: Program) => (): void => void program.child.kill('SIGKILL')

describe.concurrent('killed', { timeout: 120_000 }, () => {
  const at = (
    what: string,
    play: (place: Place) => Promise<void>,
    simulated: object = QUICK,
  ): void =>
    test(what, async () => {
      const place = await Place.open(simulated)
      try {
        await play(place)
      } finally {
        await place.close()
      }
    })
  const ended = async (place: Place, of: { ran: number; ambiguous: number }): Promise<void> => {
    expect(await place.result('j1')).toEqual({ outcome: 'completed', ambiguous: of.ambiguous })
    expect(place.executed()).toBe(of.ran)
  }

  at('stored, before the receipt left', async (place) => {
    const first = await place.scheduler({ tapped: true })
    place.tap.at(/HPUB llm\.v1\.job\./, 'answered', kill(first))
    expect(await place.submit('j1')).toBeNull()
    await place.scheduler()
    await ended(place, { ran: 1, ambiguous: 0 })
    // As a caller does that was not answered.
    expect(await place.submit('j1')).toMatchObject({ accepted: true, duplicate: true })
    expect(place.executed()).toBe(1)
  })

  at('claimed', async (place) => {
    const first = await place.scheduler({ tapped: true })
    place.tap.at(/HPUB llm\.v1\.claim\./, 'answered', kill(first))
    await place.submit('j1')
    await first.exit
    await place.scheduler()
    await ended(place, { ran: 1, ambiguous: 0 })
  })

  at(
    'waiting for a slot',
    async (place) => {
      const first = await place.scheduler({ config: 'llm_gateway: { max_inflight_global: 1 }\n' })
      await place.submit('j0')
      await place.until(() => place.executed() === 1)
      await place.submit('j1')
      await place.until(async () => (await place.state('j1')) === 'queued')
      kill(first)()
      await place.scheduler()
      expect(await place.result('j1')).toEqual({ outcome: 'completed', ambiguous: 0 })
      expect(await place.result('j0')).toEqual({ outcome: 'completed', ambiguous: 1 })
    },
    { ...QUICK, ttftMs: 1_500 },
  )

  at('in back-off', async (place) => {
    place.provider.fault({ kind: 'overloaded_500', times: 1 })
    const first = await place.scheduler({
      config: 'llm_gateway: { retry: { base_backoff_ms: 60000, cap_backoff_ms: 60000 } }\n',
    })
    await place.submit('j1')
    await place.until(async () => (await place.state('j1')) === 'backoff')
    kill(first)()
    await place.scheduler()
    await ended(place, { ran: 1, ambiguous: 0 })
  })

  at(
    'in a call',
    async (place) => {
      const first = await place.scheduler()
      await place.submit('j1')
      await place.until(() => place.executed() === 1)
      kill(first)()
      await place.scheduler()
      await ended(place, { ran: 2, ambiguous: 1 })
    },
    { ...QUICK, ttftMs: 1_500 },
  )

  at('answered, before the answer was stored', async (place) => {
    const first = await place.scheduler({ tapped: true })
    place.tap.at(/HPUB llm\.v1\.done\./, 'withheld', kill(first))
    await place.submit('j1')
    await first.exit
    await place.scheduler()
    await ended(place, { ran: 2, ambiguous: 1 })
  })

  at('its answer stored, before the job was ended', async (place) => {
    const first = await place.scheduler({ tapped: true })
    place.tap.at(/HPUB llm\.v1\.done\./, 'answered', kill(first))
    await place.submit('j1')
    await first.exit
    await place.scheduler()
    await ended(place, { ran: 1, ambiguous: 0 })
    await place.until(async () => (await place.state('j1')) === 'settled')
  })

  at(
    'not killed but stood still in a call: what comes late is dropped',
    async (place) => {
      // Of a fleet's limits it would keep its part for 43 s: tests of shares have that in virtual time.
      const config = 'fleet: { enabled: false }\n'
      const first = await place.scheduler({ config })
      await place.submit('j1')
      await place.until(() => place.executed() === 1)
      await standStill(first.child.pid!)
      await place.scheduler({ config })
      await place.until(() => place.results.length === 1)
      first.child.kill('SIGCONT')
      await ended(place, { ran: 2, ambiguous: 1 })
      // It lives, and its next job is as any.
      for (let n = 0; n < 4; n++) await place.submit(`after${n}`)
      for (let n = 0; n < 4; n++)
        expect(await place.result(`after${n}`)).toEqual({ outcome: 'completed', ambiguous: 0 })
      expect(place.results).toHaveLength(5)
    },
    { ...QUICK, ttftMs: 1_500 },
  )

  at('the server, again and again, while jobs come', async (place) => {
    await place.scheduler()
    const ids = Array.from({ length: 30 }, (_, n) => `j${n}`)
    const accepted = async (id: string): Promise<void> => {
      while ((await place.submit(id)) === null);
    }
    const all = Promise.all(ids.map(accepted))
    for (let n = 0; n < 3; n++) {
      await place.nats.kill('SIGKILL')
      await place.nats.restart()
    }
    await all
    await place.until(async () => {
      const states = await Promise.all(ids.map((id) => place.state(id)))
      return states.every((state) => state === 'settled')
    })
    // A result is published when it is stored; who was away asks.
    for (const { id } of place.results)
      expect(place.results.filter((one) => one.id === id)).toHaveLength(1)
    expect(place.executed()).toBe(ids.length)
  })
})
