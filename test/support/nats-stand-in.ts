/** For machines without the `nats` command (https://github.com/nats-io/natscli): as much of its `request` as our
 *  pages use, by the same names, against the same server. An option that it does not know is refused. */
import { parseArgs } from 'node:util'
import { connect, headers, type Msg } from '@nats-io/transport-node'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    server: { type: 'string', default: process.env['NATS_URL'] ?? 'nats://127.0.0.1:4222' },
    timeout: { type: 'string', default: '5s' },
    header: { type: 'string', short: 'H', multiple: true, default: [] },
    'wait-for-empty': { type: 'boolean', default: false },
  },
})
const [verb, subject = '', body = ''] = positionals
if (verb !== 'request' && verb !== 'req') throw new Error(`no verb of the stand-in: ${verb}`)
const seconds = /^(\d+)s$/.exec(values.timeout)?.[1]
if (seconds === undefined) throw new Error(`no time of the stand-in: ${values.timeout}`)

const nc = await connect({ servers: values.server })
const replies = nc.subscribe(`_INBOX.stand-in.${process.pid}`, {
  timeout: Number(seconds) * 1_000,
  ...(values['wait-for-empty'] ? {} : { max: 1 }),
})
const given = headers()
for (const header of values.header) {
  const [name = '', ...value] = header.split(':')
  given.append(name, value.join(':'))
}
nc.publish(subject, body, { reply: replies.getSubject(), headers: given })
for await (const reply of replies) {
  console.log(reply.string())
  if (isNobody(reply)) process.exitCode = 1
  if (reply.data.length === 0) break
}
await nc.close()

function isNobody(reply: Msg): boolean {
  return reply.headers?.code === 503
}
