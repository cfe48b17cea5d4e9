/** Several schedulers, each a process of its own, behind one nats-server, with an HTTP door that stands apart; and what
 *  each caller hears, in one word. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect, type NatsConnection } from '@nats-io/transport-node'
import { connectHeadgate, HeadgateError, type Headgate } from '#client'
import { heard, type Heard } from './heard.ts'
import { natsServer, type NatsServer } from './nats-server.ts'
import { launch, type Program } from './program.ts'

export interface Member {
  readonly instance: string
  readonly program: Program
}

/** An instance has a request in its queue. */
export interface Taken {
  id: string
  instance: string
}

/** What became of one call. */
export interface Ended {
  /** `completed`, or the code of the error. */
  how: string
  /** Runs of it that may have been beside the one that is told. */
  ambiguous: number
}

/** The client's `request` and `stream`, its `relay`, which every door stands on, or the door. */
export type Way = 'client' | 'relay' | 'door'

export interface Call {
  readonly id: string
  readonly way: Way
  readonly stream: boolean
  /** Its first event; of a whole answer never. */
  readonly begun: Promise<void>
  readonly ended: Promise<Ended>
  /** How often it was told that it has ended. */
  readonly ends: () => number
}

export interface Asked {
  id: string
  stream: boolean
}

export interface Fleet {
  readonly nats: NatsServer
  /** Those that were not ended. */
  readonly members: readonly Member[]
  readonly taken: Heard<Taken>
  start(): Promise<Member>
  /** It is none of the members any more. */
  end(of: Member, signal: 'SIGKILL' | 'SIGTERM'): void
  ask(of: Asked & { way: Way }): Call
  close(): Promise<void>
}

const TENANT = 'default'

export async function openFleet(of: {
  upstream: string
  yaml: string
  schedulers: number
}): Promise<Fleet> {
  const dir = await mkdtemp(join(tmpdir(), 'headgate-fleet-'))
  const config = join(dir, 'headgate.yaml')
  await writeFile(config, of.yaml)
  const nats = await natsServer({ jetstream: false })
  const nc = await connect({ servers: nats.url })
  const taken = heardFrom(nc)
  const env = {
    ...{ NATS_URL: nats.url, HEADGATE_CONFIG: config, LOG_LEVEL: 'error' },
    ...{ ANTHROPIC_BASE_URL: of.upstream, ANTHROPIC_API_KEY: 'sk-fleet' },
    ...{ HEADGATE_HTTP_PORT: '0', HEADGATE_GATEWAY_PORT: '0' },
  }
  const programs: Program[] = []
  const members: Member[] = []
  const started = async (name: 'scheduler' | 'gateway') => {
    const program = launch(name, env)
    programs.push(program)
    const told = await program.told
    if (told.type === 'failed') throw new Error(told.message)
    return { program, told }
  }
  const start = async (): Promise<Member> => {
    const { program, told } = await started('scheduler')
    const member = { instance: (told as { instance?: string }).instance ?? '', program }
    members.push(member)
    return member
  }
  const [door] = await Promise.all([
    started('gateway'),
    ...Array.from({ length: of.schedulers }, start),
  ])
  const client = await connectHeadgate({ servers: nats.url, tenant: TENANT })
  const url = door.told.gateway ?? ''
  return {
    nats,
    members,
    taken,
    start,
    end(member, signal) {
      members.splice(members.indexOf(member), 1)
      member.program.child.kill(signal)
    },
    ask({ way, ...asked }) {
      const by = { client: byClient, relay: byRelay, door: byDoor }[way]
      const call = by({ client, url }, asked)
      // Told to who awaits it, and to nobody where a test has failed before.
      call.ended.catch(() => {})
      return call
    },
    async close() {
      await client.close()
      await nc.close()
      await Promise.all(programs.map((one) => one.kill()))
      await nats.stop('SIGKILL')
      await rm(dir, { recursive: true, force: true })
    },
  }
}

function heardFrom(nc: NatsConnection): Heard<Taken> {
  const taken = heard<Taken>()
  nc.subscribe('llm.v1.event.request.>', {
    callback(_, { headers }) {
      if (headers?.get('ce-type') !== 'dev.headgate.request.queued') return
      const id = headers.get('ce-subject').split('/').at(-1) ?? ''
      taken.add({ id, instance: headers.get('ce-source').split('/').at(-1) ?? '' })
    },
  })
  return taken
}

export const bodyOf = (name: string, stream: boolean) => ({
  ...{ model: 'claude-sonnet-4-5', max_tokens: 64, metadata: { user_id: name } },
  messages: [{ role: 'user' as const, content: 'Say hello.' }],
  ...(stream ? { stream: true as const } : {}),
})

interface Ways {
  client: Headgate
  /** Of the door. */
  url: string
}

function byClient({ client }: Ways, { id, stream }: Asked): Call {
  const begun = Promise.withResolvers<void>()
  const ended = async (): Promise<Ended> => {
    try {
      if (!stream) {
        const { accounting } = await client.request(JSON.stringify(bodyOf(id, false)), { id })
        return { how: 'completed', ambiguous: accounting.ambiguous }
      }
      const answer = client.stream(JSON.stringify(bodyOf(id, true)), { id })
      for await (const event of answer) if (event.type === 'message_start') begun.resolve()
      return { how: 'completed', ambiguous: (await answer.final).ambiguous }
    } catch (error) {
      if (!(error instanceof HeadgateError)) throw error
      return { how: error.code, ambiguous: error.accounting?.ambiguous ?? 0 }
    }
  }
  return { id, way: 'client', stream, begun: begun.promise, ended: ended(), ends: () => 1 }
}

function byRelay({ client }: Ways, { id, stream }: Asked): Call {
  const begun = Promise.withResolvers<void>()
  const ended = Promise.withResolvers<Ended>()
  let ends = 0
  const end = (how: string, ambiguous: number): void => {
    ends += 1
    ended.resolve({ how, ambiguous })
  }
  client.relay(
    JSON.stringify(bodyOf(id, stream)),
    {
      answer: (_, { ambiguous }) => end('completed', ambiguous),
      event: () => begun.resolve(),
      ping() {},
      end: ({ ambiguous }) => end('completed', ambiguous),
      fail: ({ code, accounting }) => end(code, accounting?.ambiguous ?? 0),
    },
    { id },
  )
  return { id, way: 'relay', stream, begun: begun.promise, ended: ended.promise, ends: () => ends }
}

function byDoor({ url }: Ways, { id, stream }: Asked): Call {
  let ends = 0
  const begun = Promise.withResolvers<void>()
  const ended = async (): Promise<Ended> => {
    const answer = await fetch(`${url}/v1/messages`, {
      method: 'POST',
      body: JSON.stringify(bodyOf(id, stream)),
      headers: { 'headgate-id': id },
    })
    let text = ''
    const decoder = new TextDecoder()
    for await (const part of answer.body as unknown as AsyncIterable<Uint8Array>) {
      text += decoder.decode(part, { stream: true })
      if (text.includes('message_start')) begun.resolve()
    }
    const code = /"headgate":\{"code":"(\w+)"/.exec(text)?.[1]
    const whole = stream ? text.includes('message_stop') : answer.status === 200
    ends = stream ? text.split('event: message_stop').length - 1 : 1
    const ambiguous = Number(answer.headers.get('headgate-ambiguous') ?? 0)
    return { how: code ?? (whole ? 'completed' : 'cut short'), ambiguous }
  }
  return { id, way: 'door', stream, begun: begun.promise, ended: ended(), ends: () => ends }
}
