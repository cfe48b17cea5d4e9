/** I want NATS users to come and go without touching the nats-server.
 *
 *    node examples/auth-callout/make-issuer.ts issuer.seed      (once; prints AUTH_ISSUER for nats.conf)
 *    node examples/auth-callout/auth-callout.ts
 *
 *  nats-server asks this program about whoever connects (auth callout, from 2.10 on), and it answers with a
 *  signed token that holds the permissions of the key's holder. A key is a password or a token of the
 *  connection; its hash stands in headgate.yaml under `tenants.<name>.keys`. Several of these programs share
 *  the work. While none runs, nobody new gets in, and whoever is in stays.
 *
 *  Environment: NATS_URL, NATS_USER and NATS_PASSWORD (a user of the account AUTH: see nats.conf beside this),
 *  AUTH_ISSUER_SEED (path of the seed), HEADGATE_CONFIG (path of headgate.yaml), AUTH_ACCOUNT (where the users
 *  belong; default HEADGATE), AUTH_GATEWAY_KEY and AUTH_OPERATOR_KEY (`sha256:<hex>` of their keys). */
import { readFileSync } from 'node:fs'
import { connect } from '@nats-io/transport-node'
import {
  decode,
  encodeAuthorizationResponse,
  encodeUser,
  fromPublic,
  fromSeed,
  type AuthorizationRequest,
} from '@nats-io/jwt'
import { holderOf, watchedKeys, type Holder } from './keys.ts'

const env = (name: string, otherwise?: string): string => {
  const value = process.env[name] ?? ''
  if (value !== '') return value
  if (otherwise !== undefined) return otherwise
  console.error(`auth-callout: ${name} is not set`)
  process.exit(1)
}

const gateway = env('AUTH_GATEWAY_KEY', '')
const operator = env('AUTH_OPERATOR_KEY', '')
const keys = watchedKeys({
  path: env('HEADGATE_CONFIG'),
  own: { ...(gateway === '' ? {} : { gateway }), ...(operator === '' ? {} : { operator }) },
  onTrouble: (why) => console.error(`auth-callout: ${why}; what it said last holds`),
})
const issuer = fromSeed(readFileSync(env('AUTH_ISSUER_SEED')).subarray(0, 58))
const account = env('AUTH_ACCOUNT', 'HEADGATE')

const nats = await connect({
  servers: env('NATS_URL', 'nats://127.0.0.1:4222').split(','),
  user: env('NATS_USER'),
  pass: env('NATS_PASSWORD'),
  name: 'headgate auth-callout',
  // The server may start after us, and may be away for a while.
  waitOnFirstConnect: true,
  maxReconnectAttempts: -1,
  ignoreAuthErrorAbort: true,
})

nats.subscribe('$SYS.REQ.USER.AUTH', {
  queue: 'headgate-auth',
  callback: (error, message) => {
    if (error !== null) return console.error(`auth-callout: ${error.message}`)
    answer(message.string()).then(
      (token) => message.respond(token),
      (trouble: unknown) => console.error('auth-callout: a question that cannot be read', trouble),
    )
  },
})
await nats.flush()
console.log(`answers for the tenants of ${env('HEADGATE_CONFIG')}`)

for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => void nats.drain())
const lost = await nats.closed()
if (lost instanceof Error) {
  console.error(`auth-callout: ${lost.message}`)
  process.exitCode = 1
}

/** The server's question is a token that it signed; so is the answer, which either holds a user or says no. */
async function answer(question: string): Promise<string> {
  const { connect_opts: given, server_id, user_nkey } = decode<AuthorizationRequest>(question).nats
  if (given === undefined || server_id === undefined || user_nkey === undefined)
    throw new Error('it does not say who asks')
  const holder = holderOf(keys(), {
    key: given.pass ?? given.auth_token ?? '',
    user: given.user ?? '',
  })
  console.log(holder === null ? 'refused somebody' : `let ${holder.name} in`)
  return encodeAuthorizationResponse(
    fromPublic(user_nkey),
    fromPublic(server_id.id),
    issuer,
    holder === null ? { error: 'no such key' } : { jwt: await userToken(user_nkey, holder) },
    {},
  )
}

function userToken(nkey: string, { name, permissions }: Holder): Promise<string> {
  const { publish, subscribe } = permissions
  const user = { pub: { allow: [...publish] }, sub: { allow: [...subscribe] } }
  return encodeUser(name, fromPublic(nkey), issuer, user, { aud: account })
}
