/** Instances of Headgate on a transport and a clock that the test moves: each takes requests in its turn, and answers
 *  `status` as the contract says. One that is dead says nothing; one that stands still says it later. */
import { HEADER } from '#contracts/messages'
import type { HandTransport, Letter } from './hand-transport.ts'
import type { ManualClock } from './manual-clock.ts'

/** Who does not have an id waits so long before it says so. */
const UNKNOWN_AFTER_MS = 250
const STEP_MS = 25

export interface HandInstance {
  readonly name: string
  is: 'alive' | 'still' | 'dead'
  /** What came while it stood still. */
  readonly mail: Letter[]
  /** Where each of its requests is answered, by id. */
  readonly has: Map<string, { reply: string; headers: ReadonlyMap<string, string> }>
  /** Requests that have ended here. */
  readonly ended: Set<string>
}

export function handFleet(of: {
  server: HandTransport
  clock: ManualClock
  names: readonly string[]
  /** False: of an earlier version, which does not say its name. */
  named?: boolean
}) {
  const { server, clock, named = true } = of
  const instances: HandInstance[] = of.names.map((name) => ({
    ...{ name, is: 'alive' as const },
    ...{ mail: [], has: new Map(), ended: new Set() },
  }))
  let read = 0
  let turn = 0
  let forbidden = false

  const idOf = (letter: Letter) => new Map(letter.headers).get(HEADER.id) ?? ''
  const who = (instance: HandInstance): Record<string, string> =>
    named ? { [HEADER.instance]: instance.name } : {}

  const take = (instance: HandInstance, letter: Letter): void => {
    const id = idOf(letter)
    const reply = letter.reply ?? ''
    if (instance.has.has(id)) return refuse(reply, id, 'duplicate_id')
    instance.ended.delete(id)
    instance.has.set(id, { reply, headers: new Map(letter.headers) })
  }
  const stand = (instance: HandInstance, letter: Letter): void => {
    const id = letter.subject.split('.').at(-1) ?? ''
    const reply = letter.reply ?? ''
    const live = instance.has.has(id)
    if (live || instance.ended.has(id)) {
      const state = live ? 'running' : 'settled'
      const said = { id, tenant: 'acme', lane: 'interactive', model: 'm', state, attempts: 1 }
      const rest = { position: null, estimated_wait_ms: null, enqueued_at: '2026-01-01T00:00:00Z' }
      return server.deliver(reply, JSON.stringify({ ...said, ...rest }), who(instance))
    }
    clock.after(UNKNOWN_AFTER_MS, () => {
      if (instance.is === 'alive') refuse(reply, id, 'unknown_id', who(instance))
    })
  }
  const serve = (instance: HandInstance, letter: Letter): void => {
    if (instance.is === 'still') return void instance.mail.push(letter)
    if (instance.is === 'dead') return
    if (letter.subject.includes('.status.')) stand(instance, letter)
    else if (letter.subject.includes('.cancel.'))
      instance.has.delete(letter.subject.split('.').at(-1) ?? '')
    else if (letter.subject.includes('.request.')) take(instance, letter)
  }
  function refuse(to: string, id: string, code: string, more: Record<string, string> = {}): void {
    const body = { error: { type: 'api_error', message: code }, headgate: { code } }
    server.deliver(to, JSON.stringify(body), {
      [HEADER.errorCode]: '503',
      [HEADER.outcome]: 'refused',
      [HEADER.attempts]: '0',
      [HEADER.id]: id,
      ...more,
    })
  }

  /** A request goes to one, in turn; a question to all. */
  const post = (letter: Letter): void => {
    if (forbidden && letter.subject.includes('.status.'))
      return server.refuse({ subject: letter.subject, detail: 'no permission' })
    const there = instances.filter(({ is }) => is !== 'dead')
    if (there.length === 0) return server.nobody(letter.reply ?? '')
    if (!letter.subject.includes('.request.')) for (const one of there) serve(one, letter)
    else {
      const one = there[turn++ % there.length]
      if (one !== undefined) serve(one, letter)
    }
  }

  return {
    instances,
    refuse,
    /** The server carries no such question. */
    forbidStatus: () => void (forbidden = true),
    /** Whose turn the next request is. */
    next(name: string): void {
      turn = instances.filter(({ is }) => is !== 'dead').findIndex((one) => one.name === name)
    },
    named: (name: string): HandInstance => instances.find((one) => one.name === name)!,
    holder: (id: string): HandInstance | undefined =>
      instances.find(({ has, is }) => is !== 'dead' && has.has(id)),
    /** It goes on, with what came meanwhile. */
    goOn(instance: HandInstance): void {
      instance.is = 'alive'
      for (const letter of instance.mail.splice(0)) serve(instance, letter)
    },
    /** The whole answer of a request, by who has it. */
    answer(instance: HandInstance, id: string, text = '{"ok":1}'): void {
      const one = instance.has.get(id)
      instance.has.delete(id)
      instance.ended.add(id)
      server.deliver(one?.reply ?? '', text, { [HEADER.outcome]: 'completed', [HEADER.id]: id })
    },
    /** A message of its stream. */
    say(instance: HandInstance, id: string, text: string): void {
      server.deliver(instance.has.get(id)?.reply ?? '', text)
    },
    /** So much time passes, and whatever is sent is served. */
    async pass(ms: number): Promise<void> {
      for (let left = ms; ; left -= STEP_MS) {
        await new Promise((resolve) => setImmediate(resolve))
        for (; read < server.sent.all.length; read++) post(server.sent.all[read]!)
        if (left <= 0) return
        clock.advance(Math.min(STEP_MS, left))
      }
    },
    sent: (kind: 'request' | 'submit' | 'status' | 'cancel'): Letter[] =>
      server.sent.all.filter(({ subject }) => subject.includes(`.${kind}.`)),
  }
}
