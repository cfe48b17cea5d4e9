/** `headgate auth`: a NATS user for each tenant, and HTTP keys. It changes files and talks to nobody; none is
 *  changed before it is known what all of them will say. */
import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { hashSync } from 'bcryptjs'
import { Command, InvalidArgumentError } from 'commander'
import { LANES_MAX, OWN_USERS } from '#contracts/permissions'
import {
  CONFIG_PREFACE,
  lanesIn,
  REPLY_PREFIXES,
  subjectPrefixIn,
  withoutKeys,
  withReplyPrefixes,
  withTenant,
  type ConfigEdit,
} from './config-edit.ts'
import { readNatsAuth, renderNatsAuth, TENANTS_MAX, type NatsAuth } from './nats-auth.ts'
import { variableOf, withoutPassword, withPassword } from './password-lines.ts'
import { secret } from '#platform/system'
import { CALL, env, Failure, fileName, json, Misuse, say, token } from './terminal.ts'
import { alone, readWhole, writeWhole, type WholeFile } from './whole-files.ts'

interface AuthFlags {
  out: string
  config?: string
  json?: true
}
interface InitFlags extends AuthFlags {
  subjectPrefix?: string
  print?: true
}
interface AddFlags extends AuthFlags {
  lanes?: string[]
  httpKey?: true
  print?: true
}

export const auth = (): Command =>
  new Command('auth')
    .summary('make NATS users and HTTP keys for tenants')
    .description(
      'Writes the users and permissions of a nats-server (nats-auth.conf), their passwords ' +
        '(nats-passwords.env), and what headgate.yaml must say beside them. Files change whole or not ' +
        'at all; nothing that says otherwise is written over.',
    )
    .addCommand(init())
    .addCommand(addTenant())
    .addCommand(removeTenant())

const init = (): Command =>
  authOptions(new Command('init'))
    .summary('make the users headgate, gateway and operator')
    .description(
      'Makes nats-auth.conf and nats-passwords.env, and sets nats.reply_prefixes in headgate.yaml. ' +
        'Include the first in the configuration of your nats-server; the scheduler connects as ' +
        'headgate, the HTTP door as gateway, `headgate top` and `emergency` as operator.',
    )
    .option('--subject-prefix <token>', "the configuration's subject_prefix (default: llm)", token)
    .option('--print', 'print the passwords too')
    .action((flags: InitFlags) => tell(runInit(flags), flags))

const addTenant = (): Command =>
  authOptions(new Command('add-tenant'))
    .summary('add a user for a tenant, and a key for HTTP')
    .description(
      'Adds a NATS user that may ask as this tenant and hear its answers, and nothing else. Again for ' +
        'a tenant that is there: with --http-key one more key, else nothing.',
    )
    .argument('<name>', 'the tenant: the token of its subjects, and its NATS user', token)
    .option(
      '--lanes <a,b>',
      'the only lanes it may ask in (default: what headgate.yaml says, else every lane)',
      laneList,
    )
    .option('--http-key', 'make a key for the HTTP door, and print it once')
    .option('--print', 'print the password too')
    .action((name: string, flags: AddFlags) => tell(runAdd(name, flags), flags))

const removeTenant = (): Command =>
  authOptions(new Command('remove-tenant'))
    .summary("take a tenant's user, password and keys away")
    .description(
      'Takes away what add-tenant gave. To change a password: remove-tenant, then add-tenant.',
    )
    .argument('<name>', 'the tenant', token)
    .action((name: string, flags: AuthFlags) => tell(runRemove(name, flags), flags))

const authOptions = (command: Command): Command =>
  command
    .option('--out <folder>', 'where nats-auth.conf and nats-passwords.env are', '.')
    .option(
      '--config <file>',
      'headgate.yaml, edited in place (default: HEADGATE_CONFIG)',
      fileName,
    )
    .option('--json', 'print what was done as JSON')

/** What was done. `printed` goes to the terminal and nowhere else. */
interface Done {
  files: { path: string; changes: readonly string[] }[]
  /** What headgate.yaml needs, where it was not named. */
  paste: readonly string[]
  printed: Record<string, string>
  next: readonly string[]
}

function runInit(flags: InitFlags): Done {
  const at = placesOf(flags)
  return alone(at.nats, () => {
    for (const path of [at.nats, at.passwords])
      if (readWhole(path) !== null)
        throw new Failure(`${path} is there already: add-tenant adds to it; init would replace it`)
    const config = configOf(at, (text, path) => withReplyPrefixes(text, path))
    const subjectPrefix = config?.subjectPrefix ?? flags.subjectPrefix ?? 'llm'
    if (flags.subjectPrefix !== undefined && flags.subjectPrefix !== subjectPrefix)
      throw new Failure(
        `${at.config ?? ''}: subject_prefix is ${subjectPrefix}; leave out --subject-prefix`,
      )
    const made = OWN_USERS.map((user) => ({ user, password: secret() }))
    const own = Object.fromEntries(made.map(({ user, password }) => [user, hashOf(password)]))
    let lines: string | null = null
    for (const one of made) lines = withPassword(lines, one)
    writeWhole([
      passwordsFile(at, lines ?? ''),
      natsFile(at, { subjectPrefix, own, tenants: [] }),
      ...(config?.file ?? []),
    ])
    return {
      files: [
        { path: at.nats, changes: [`users ${OWN_USERS.join(', ')}`] },
        { path: at.passwords, changes: ['their passwords, for nobody else to read'] },
        ...(config?.told ?? []),
      ],
      paste: config === null ? [REPLY_LINE] : [],
      printed: flags.print === true ? linesOf(made) : {},
      next: [
        `include nats-auth.conf in the nats-server's configuration (its user must be able to read it)`,
        `${CALL} auth add-tenant NAME`,
      ],
    }
  })
}

function runAdd(tenant: string, flags: AddFlags): Done {
  if (NO_TENANT.includes(tenant))
    throw new Misuse(`${tenant}: means something else already; choose another name`)
  const at = placesOf(flags)
  return alone(at.nats, () => {
    const before = natsAuthOf(at)
    const there = before.tenants.find((one) => one.tenant === tenant)
    const asked = flags.lanes ?? there?.lanes ?? null
    const key = flags.httpKey === true ? `hg_${secret()}` : null
    const keyHash = key === null ? null : `sha256:${createHash('sha256').update(key).digest('hex')}`
    const config = configOf(at, (text, path) => {
      const first = withReplyPrefixes(text, path)
      const then = withTenant(first.text, path, { tenant, lanes: asked, keyHash })
      return { text: then.text, changes: [...first.changes, ...then.changes] }
    })
    samePrefix(at, before, config)
    // What NATS lets through and what Headgate serves are the same lanes.
    const lanes = config === null ? asked : lanesIn(config.text, config.path, tenant)
    if (there !== undefined && !sameLanes(there.lanes, lanes))
      throw new Failure(
        `${at.nats}: ${tenant} is there with ${lanesSaid(there.lanes)}, and would now have ${lanesSaid(lanes)}; remove-tenant, then add-tenant`,
      )
    const made = there === undefined ? { user: tenant, password: secret() } : null
    if (made !== null) checkRoom(at, before, tenant)
    writeWhole([
      ...(made === null
        ? []
        : [
            passwordsFile(at, withPassword(readWhole(at.passwords), made)),
            natsFile(at, added(before, { tenant, lanes, hash: hashOf(made.password) })),
          ]),
      ...(config?.file ?? []),
    ])
    return {
      files: [
        {
          path: at.nats,
          changes: made === null ? [] : [`user ${tenant}, ${lanesSaid(lanes)}`],
        },
        { path: at.passwords, changes: made === null ? [] : [variableOf(tenant)] },
        ...(config?.told ?? []),
      ],
      paste: config === null ? tenantLines({ tenant, lanes: flags.lanes ?? null, keyHash }) : [],
      printed: {
        ...(made !== null && flags.print === true ? linesOf([made]) : {}),
        ...(key === null ? {} : { http_key: key }),
      },
      next: made === null ? [] : [RELOAD],
    }
  })
}

function runRemove(tenant: string, flags: AuthFlags): Done {
  const at = placesOf(flags)
  return alone(at.nats, () => {
    const before = natsAuthOf(at)
    const tenants = before.tenants.filter((one) => one.tenant !== tenant)
    if (tenants.length === before.tenants.length)
      throw new Failure(`${at.nats}: there is no tenant ${tenant}`)
    const config = configOf(at, (text, path) => withoutKeys(text, path, tenant))
    samePrefix(at, before, config)
    const passwords = readWhole(at.passwords)
    writeWhole([
      natsFile(at, { ...before, tenants }),
      ...(passwords === null ? [] : [passwordsFile(at, withoutPassword(passwords, tenant))]),
      ...(config?.file ?? []),
    ])
    return {
      files: [
        { path: at.nats, changes: [`no user ${tenant}`] },
        { path: at.passwords, changes: passwords === null ? [] : [`no ${variableOf(tenant)}`] },
        ...(config?.told ?? []),
      ],
      paste: [],
      printed: {},
      next: [
        RELOAD,
        ...(config === null ? [`take tenants.${tenant}.keys out of headgate.yaml`] : []),
      ],
    }
  })
}

const RELOAD = 'nats-server --signal reload'
const REPLY_LINE = `nats: { reply_prefixes: ${JSON.stringify(REPLY_PREFIXES)} }`

/** They stand for something else under `tenants`, are users of our own, or are no name for YAML. */
const NO_TENANT: readonly string[] = [...OWN_USERS, 'default', 'unknown', '__proto__']

/** Rounds of bcrypt, as a power of two. They make guessing dear where a password can be guessed; ours have
 *  192 bits of chance and cannot, and the server pays the rounds for every connection, all of them at once
 *  when it restarts. */
const BCRYPT_COST = 8

const hashOf = (password: string): string => hashSync(password, BCRYPT_COST)

// ---- the three files ----

interface Places {
  nats: string
  passwords: string
  config: string | null
}

const placesOf = (flags: AuthFlags): Places => ({
  nats: join(flags.out, 'nats-auth.conf'),
  passwords: join(flags.out, 'nats-passwords.env'),
  config: flags.config ?? env('HEADGATE_CONFIG') ?? null,
})

function natsAuthOf({ nats }: Places): NatsAuth {
  const text = readWhole(nats)
  if (text === null) throw new Failure(`${nats}: no such file; headgate auth init makes it`)
  return readNatsAuth(text, nats)
}

const natsFile = ({ nats: path }: Places, auth: NatsAuth): WholeFile => ({
  path,
  text: renderNatsAuth(auth),
  mode: 0o600,
})

const passwordsFile = ({ passwords: path }: Places, text: string): WholeFile => ({
  path,
  text,
  mode: 0o600,
  secret: true,
})

interface EditedConfig {
  path: string
  /** As it will stand. */
  text: string
  file: WholeFile[]
  told: Done['files']
  subjectPrefix: string
}

/** Null where no file is named. */
function configOf(
  { config: path }: Places,
  work: (text: string, path: string) => ConfigEdit,
): EditedConfig | null {
  if (path === null) return null
  const before = readWhole(path)
  const { text, changes } = work(before ?? CONFIG_PREFACE, path)
  return {
    ...{ path, text },
    file: changes.length === 0 ? [] : [{ path, text, mode: 0o644 }],
    told: [{ path, changes }],
    subjectPrefix: subjectPrefixIn(text, path),
  }
}

function samePrefix(at: Places, auth: NatsAuth, config: EditedConfig | null): void {
  const said = config?.subjectPrefix ?? auth.subjectPrefix
  if (said === auth.subjectPrefix) return
  throw new Failure(
    `${at.config ?? ''}: subject_prefix is ${said}, and ${at.nats} was made for ${auth.subjectPrefix}`,
  )
}

const lanesSaid = (lanes: readonly string[] | null): string =>
  lanes === null ? 'every lane' : `lanes ${lanes.join(', ')}`

/** In whatever order. */
const sameLanes = (one: readonly string[] | null, other: readonly string[] | null): boolean =>
  one === null || other === null
    ? one === other
    : String(one.toSorted()) === String(other.toSorted())

function checkRoom(at: Places, auth: NatsAuth, tenant: string): void {
  if (auth.tenants.length >= TENANTS_MAX)
    throw new Failure(`${at.nats}: holds ${TENANTS_MAX} tenants, and that is all it may`)
  const others = [...OWN_USERS, ...auth.tenants.map((one) => one.tenant)]
  const twin = others.find((name) => variableOf(name) === variableOf(tenant))
  if (twin !== undefined)
    throw new Failure(`${tenant}: ${variableOf(tenant)} is the variable of ${twin}; choose another`)
}

const added = (auth: NatsAuth, tenant: NatsAuth['tenants'][number]): NatsAuth => ({
  ...auth,
  tenants: [...auth.tenants, tenant],
})

// ---- what is said ----

function tell(done: Done, flags: AuthFlags): void {
  const files = done.files.filter(({ changes }) => changes.length > 0)
  if (flags.json === true)
    return json({ files, headgate_yaml: done.paste, printed: done.printed, next: done.next })
  for (const { path, changes } of files) for (const change of changes) say(`${path}: ${change}`)
  if (files.length === 0) say('nothing to do: it is so already')
  if (done.paste.length > 0) say('headgate.yaml needs this; --config FILE would write it:')
  for (const line of done.paste) say(`  ${line}`)
  for (const [name, value] of Object.entries(done.printed))
    say(name === 'http_key' ? `the HTTP key, shown this once: ${value}` : `${name}=${value}`)
  for (const line of done.next) say(`next: ${line}`)
}

const linesOf = (made: readonly { user: string; password: string }[]): Record<string, string> =>
  Object.fromEntries(made.map(({ user, password }) => [variableOf(user), password]))

function tenantLines(of: {
  tenant: string
  lanes: readonly string[] | null
  keyHash: string | null
}): string[] {
  const lines = [
    ...(of.keyHash === null ? [] : [`    keys: [${JSON.stringify(of.keyHash)}]`]),
    ...(of.lanes === null ? [] : [`    lanes: [${of.lanes.join(', ')}]`]),
  ]
  return lines.length === 0 ? [] : ['tenants:', `  ${of.tenant}:`, ...lines]
}

function laneList(text: string): string[] {
  const lanes = [...new Set(text.split(',').map((lane) => token(lane.trim())))]
  if (lanes.length <= LANES_MAX) return lanes
  throw new InvalidArgumentError(`expected at most ${LANES_MAX} lanes`)
}
