/** `nats-auth.conf`: the users of a nats-server and what each may do, as text and back. The file begins with
 *  its own source, a comment of one JSON object for each user; the rest is made from that. Where it is not,
 *  somebody changed it by hand, and it is not read. Bound: `TENANTS_MAX`, about 1.5 KB each. */
import { isToken } from '#contracts/ids'
import {
  GATEWAY_USER,
  gatewayPermissions,
  OPERATOR_USER,
  operatorPermissions,
  OWN_USERS,
  SCHEDULER_USER,
  schedulerPermissions,
  tenantPermissions,
  type Permissions,
  type TenantAccess,
} from '#contracts/permissions'
import { Failure } from './terminal.ts'

export const TENANTS_MAX = 10_000

export interface NatsAuth {
  subjectPrefix: string
  /** Of our own users, by name: bcrypt hashes of their passwords. */
  own: Readonly<Record<string, string>>
  tenants: readonly AuthTenant[]
}

export interface AuthTenant extends TenantAccess {
  hash: string
}

export function renderNatsAuth(auth: NatsAuth): string {
  const { subjectPrefix, tenants } = auth
  const own = (name: string, says: string, permissions: Permissions): string =>
    renderUser({ name, says, hash: auth.own[name] ?? '', permissions })
  return [
    ...PREFACE.map((line) => `# ${line}`.trimEnd()),
    '#',
    `${HEAD}${JSON.stringify({ version: VERSION, subject_prefix: subjectPrefix })}`,
    ...OWN_USERS.map((name) => `${USER}${JSON.stringify({ name, password: auth.own[name] })}`),
    ...tenants.map(
      ({ tenant: name, lanes, hash: password }) =>
        `${USER}${JSON.stringify({ name, ...(lanes === null ? {} : { lanes }), password })}`,
    ),
    '',
    'authorization {',
    '  users: [',
    own(SCHEDULER_USER, 'the scheduler: everything in its account', schedulerPermissions()),
    own(GATEWAY_USER, 'the HTTP door, for every tenant', gatewayPermissions(auth)),
    own(OPERATOR_USER, 'administration and events', operatorPermissions(auth)),
    ...tenants.map(({ tenant, lanes, hash }) =>
      renderUser({
        name: tenant,
        says: 'a tenant',
        hash,
        permissions: tenantPermissions({ subjectPrefix, tenant, lanes }),
      }),
    ),
    '  ]',
    '}',
    '',
  ].join('\n')
}

/** Throws a Failure that says what is wrong; `path` only names the file. */
export function readNatsAuth(text: string, path: string): NatsAuth {
  const auth = sourceOf(text)
  if (auth === null) throw new Failure(`${path}: not a file that headgate auth wrote`)
  if (rendered(auth) !== text)
    throw new Failure(
      `${path}: was changed by hand, and headgate auth would undo that; take the change back first`,
    )
  return auth
}

const VERSION = 1
const HEAD = '# headgate-auth '
const USER = '# headgate-user '

const PREFACE = [
  'Who may do what on this NATS server. Written by `headgate auth`, which refuses a file that was changed by',
  'hand. Passwords stand here as bcrypt hashes only.',
  '',
  "In the nats-server's configuration (the path counts from there):  include nats-auth.conf",
  'After a change:  nats-server --signal reload',
]

function renderUser(of: {
  name: string
  says: string
  hash: string
  permissions: Permissions
}): string {
  const list = (subjects: readonly string[]): string =>
    subjects.map((subject) => `\n          ${JSON.stringify(subject)}`).join('')
  return `    # ${of.says}
    {
      user: ${JSON.stringify(of.name)}
      password: ${JSON.stringify(of.hash)}
      permissions: {
        publish: [${list(of.permissions.publish)}
        ]
        subscribe: [${list(of.permissions.subscribe)}
        ]
      }
    }`
}

/** Null where the comment does not hold what it should. */
function sourceOf(text: string): NatsAuth | null {
  const lines = text.split('\n')
  const head = jsonAfter(HEAD, lines.find((line) => line.startsWith(HEAD)) ?? '')
  if (head?.['version'] !== VERSION || !isName(head['subject_prefix'])) return null
  const users = lines.filter((line) => line.startsWith(USER)).map((line) => jsonAfter(USER, line))
  const own: Record<string, string> = {}
  const tenants: AuthTenant[] = []
  for (const user of users) {
    const { name, password, lanes = null } = user ?? {}
    if (!isName(name) || typeof password !== 'string' || !BCRYPT.test(password)) return null
    if (OWN_USERS.includes(name)) own[name] = password
    else if (lanes === null) tenants.push({ tenant: name, lanes, hash: password })
    else if (Array.isArray(lanes) && lanes.every(isName))
      tenants.push({ tenant: name, lanes, hash: password })
    else return null
  }
  const complete = OWN_USERS.every((name) => Object.hasOwn(own, name))
  return complete ? { subjectPrefix: head['subject_prefix'], own, tenants } : null
}

const BCRYPT = /^\$2[aby]\$\d\d\$[./A-Za-z0-9]{53}$/

const isName = (value: unknown): value is string => typeof value === 'string' && isToken(value)

function jsonAfter(start: string, line: string): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(line.slice(start.length))
    return typeof value === 'object' && value !== null ? { ...value } : null
  } catch {
    return null
  }
}

/** Null where its lanes are none that could be written. */
function rendered(auth: NatsAuth): string | null {
  try {
    return renderNatsAuth(auth)
  } catch {
    return null
  }
}
