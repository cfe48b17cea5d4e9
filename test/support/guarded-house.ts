/** A house whose nats-server knows who is who: the files are those that `headgate auth` writes. */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import {
  connect,
  type NatsConnection,
  type PermissionViolationError,
} from '@nats-io/transport-node'
import { connectHeadgate, type Headgate } from '#client'
import { inbox } from '#contracts/subjects'
import { heard, type Heard } from './heard.ts'
import { openHouse, type House } from './house.ts'
import { inRoot } from './tree.ts'

export interface GuardedHouse extends House {
  /** Runs `headgate auth …` on the files of this house. */
  auth(...args: string[]): void
  /** What a program of this user has in its environment. */
  env(user: string): { NATS_URL: string; NATS_USER: string; NATS_PASSWORD: string }
  /** Our client, as this user. */
  login(user: string): Promise<Headgate>
  /** A connection of this user's without our client, and what NATS refused it. */
  raw(user: string): Promise<Raw>
}

export interface Raw {
  nc: NatsConnection
  violations: Heard<Violation>
  close(): Promise<void>
}
/** `reply`: what was published named an address that nats-server from 2.12 on lets nobody else name. */
export type Violation = Pick<PermissionViolationError, 'operation' | 'subject'> & {
  reply: string | null
}

export async function openGuardedHouse(of: {
  tenants: readonly string[]
  /** Durable jobs are kept in the server's JetStream. */
  jobs?: boolean
  /** The schedulers divide their limits. */
  fleet?: boolean
}): Promise<GuardedHouse> {
  const dir = mkdtempSync(join(tmpdir(), 'headgate-guarded-'))
  const config = join(dir, 'headgate.yaml')
  const auth = (...args: string[]): void => {
    const command = [inRoot('services/cli/headgate.ts'), 'auth', ...args]
    const run = spawnSync(process.execPath, [...command, '--out', dir, '--config', config], {
      encoding: 'utf8',
    })
    if (run.status !== 0) throw new Error(run.stderr)
  }
  auth('init')
  for (const tenant of of.tenants) auth('add-tenant', tenant)

  const passwordOf = (user: string): string =>
    new RegExp(`^NATS_PASSWORD_${user}=(.*)$`, 'm').exec(
      readFileSync(join(dir, 'nats-passwords.env'), 'utf8'),
    )?.[1] ?? ''
  const as = (user: string) => ({ user, password: passwordOf(user) })
  const open: { close(): Promise<void> }[] = []
  const house = await openHouse({
    yaml: readFileSync(config, 'utf8'),
    http: true,
    jobs: of.jobs === true,
    fleet: of.fleet === true,
    // The server counts the path from its own file, which is in a directory beside ours.
    nats: { config: `include "../${basename(dir)}/nats-auth.conf"` },
    login: as('headgate'),
    clientLogin: as(of.tenants[0] ?? 'operator'),
  })
  return {
    ...house,
    auth,
    env: (user) => ({
      NATS_URL: house.nats.url,
      NATS_USER: user,
      NATS_PASSWORD: passwordOf(user),
    }),
    async login(user) {
      const client = await connectHeadgate({
        servers: house.nats.url,
        tenant: user,
        ...as(user),
      })
      open.push(client)
      return client
    },
    async raw(user) {
      const connection = await rawConnection({ url: house.nats.url, ...as(user) })
      open.push(connection)
      return connection
    },
    async close() {
      for (const one of open) await one.close()
      await house.close()
      rmSync(dir, { recursive: true, force: true })
    },
  }
}

export async function rawConnection(of: {
  url: string
  user: string
  password: string
}): Promise<Raw> {
  const nc = await connect({
    servers: of.url,
    user: of.user,
    pass: of.password,
    inboxPrefix: inbox(of.user).prefix,
    maxReconnectAttempts: 0,
  })
  const violations = heard<Violation>()
  void (async () => {
    for await (const status of nc.status()) {
      if (status.type !== 'error' || !('operation' in status.error)) continue
      const { operation, subject } = status.error as PermissionViolationError
      const reply = /Publish with Reply of "([^"]*)"/.exec(status.error.message)?.[1] ?? null
      violations.add({ operation, subject, reply })
    }
  })()
  return { nc, violations, close: () => nc.close() }
}
