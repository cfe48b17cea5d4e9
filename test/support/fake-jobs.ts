/** A keeper of durable jobs, as far as the wire contract shows it: one table in memory, settled by the test. */
import { errorBody, refusal } from '#contracts/messages'
import type { RefusalCode } from '#contracts/refusals'
import { subjects, twoTokens } from '#contracts/subjects'
import type { Bus, BusMessage } from '#ports'
import { heard } from './heard.ts'

export function fakeJobs(bus: Bus, prefix: string) {
  const to = subjects(prefix)
  const submitted = heard<BusMessage>()
  const fetched = heard<BusMessage>()
  const cancelled = heard<string>()
  /** By `<tenant>/<id>`: the body, and what it ended with. */
  const jobs = new Map<string, { body: string; answer: Answer | null }>()

  interface Answer {
    body: string
    headers: [string, string][]
  }
  const say = (message: BusMessage, { body, headers }: Answer) =>
    bus.publish(message.reply ?? '', body, { headers })
  const no = (code: RefusalCode, id: string): Answer => {
    const said = refusal(code, code)
    return {
      body: errorBody({ refusal: said, requestId: id, attempts: 0 }),
      headers: [
        ['Nats-Service-Error-Code', String(said.status)],
        ['Nats-Service-Error', said.message],
        ['Headgate-Id', id],
      ],
    }
  }

  const subscriptions = [
    bus.subscribe(`${to.root}.submit.*.*`, (message) => {
      submitted.add(message)
      const tenant = twoTokens(to, message.subject)?.tenant ?? ''
      const id = message.header('Headgate-Id') ?? ''
      const body = Buffer.from(message.data).toString()
      const before = jobs.get(`${tenant}/${id}`)
      if (before !== undefined && before.body !== body) return say(message, no('duplicate_id', id))
      jobs.set(`${tenant}/${id}`, before ?? { body, answer: null })
      const receipt = {
        id,
        accepted: true,
        duplicate: before !== undefined,
        result_subject: to.result(tenant, id),
        position: before === undefined ? 3 : null,
        estimated_wait_ms: null,
      }
      say(message, { body: JSON.stringify(receipt), headers: [] })
    }),
    bus.subscribe(`${to.root}.fetch.*.*`, (message) => {
      fetched.add(message)
      const { tenant = '', last: id = '' } = twoTokens(to, message.subject) ?? {}
      const job = jobs.get(`${tenant}/${id}`)
      if (job === undefined) return say(message, no('unknown_id', id))
      say(message, job.answer ?? no('pending', id))
    }),
    bus.subscribe(`${to.root}.cancel.*.*`, (message) => cancelled.add(message.subject)),
  ]

  return {
    submitted,
    fetched,
    cancelled,
    settle(key: string, body: string) {
      const job = jobs.get(key)
      const headers: Answer['headers'] = [
        ['Headgate-Outcome', 'completed'],
        ['Headgate-Attempts', '1'],
      ]
      if (job !== undefined) job.answer = { body, headers }
    },
    fail(key: string, code: RefusalCode) {
      const job = jobs.get(key)
      if (job !== undefined) job.answer = no(code, key)
    },
    stop: () => Promise.all(subscriptions.map((one) => one.drain())),
  }
}
