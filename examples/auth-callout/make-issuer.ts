/** Makes the key that signs users: its seed goes into a file of its own, AUTH_ISSUER into nats.conf. Whoever
 *  has the seed can let anybody in as anything. */
import { writeFileSync } from 'node:fs'
import { createAccount } from '@nats-io/nkeys'

const [, , path] = process.argv
if (path === undefined) {
  console.error('usage: node make-issuer.ts FILE')
  process.exit(2)
}
const issuer = createAccount()
// Never over another one: the server would then believe nobody.
writeFileSync(path, `${new TextDecoder().decode(issuer.getSeed())}\n`, { mode: 0o600, flag: 'wx' })
console.log(`AUTH_ISSUER=${issuer.getPublicKey()}`)
