/** `headgate auth`: what it writes, what it refuses, and what it leaves alone. */
import { spawn, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { compareSync, getRounds } from 'bcryptjs'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { parse } from 'yaml'
import { auth } from '../../services/cli/auth.ts'
import { Failure, Misuse } from '../../services/cli/terminal.ts'
import { loadConfig } from '../../services/platform/config/load.ts'
import { inRoot } from '../support/tree.ts'

let dir: string
beforeEach(() => {
  vi.stubEnv('HEADGATE_CONFIG', '')
  dir = mkdtempSync(join(tmpdir(), 'headgate-auth-'))
})
afterEach(() => rmSync(dir, { recursive: true, force: true }))

/** The command as a process of its own. */
const spawned = (...args: string[]) =>
  spawnSync(process.execPath, [inRoot('services/cli/headgate.ts'), 'auth', ...args], {
    encoding: 'utf8',
    cwd: dir,
    env: { ...process.env, HEADGATE_CONFIG: '' },
  })

/** The same in this process, which is much faster; files are those of `dir`. */
function run(...args: string[]): { status: number; stdout: string; stderr: string } {
  const said: string[] = []
  const out = vi.spyOn(process.stdout, 'write').mockImplementation((line) => {
    said.push(String(line))
    return true
  })
  const inDir = args.map((arg) => (/^[^/]+\.yaml$/.test(arg) ? join(dir, arg) : arg))
  const where = args.includes('--out') ? [] : ['--out', dir]
  try {
    auth().parse(['node', 'auth', ...inDir, ...where])
    return { status: 0, stdout: said.join(''), stderr: '' }
  } catch (error) {
    if (!(error instanceof Failure || error instanceof Misuse)) throw error
    const status = error instanceof Failure ? 1 : 2
    return { status, stdout: said.join(''), stderr: error.message }
  } finally {
    out.mockRestore()
  }
}
const done = (...args: string[]): string => {
  const { status, stdout, stderr } = run(...args)
  expect(stderr).toBe('')
  expect(status).toBe(0)
  return stdout
}
const fails = (...args: string[]): string => {
  const before = files()
  const { status, stderr, stdout } = run(...args)
  expect(status).toBe(1)
  expect(stdout).toBe('')
  expect(files()).toEqual(before)
  return stderr
}
const text = (name: string): string => readFileSync(join(dir, name), 'utf8')
const files = (): Record<string, string> =>
  Object.fromEntries(readdirSync(dir).map((name) => [name, text(name)]))
const mode = (name: string): number => statSync(join(dir, name)).mode & 0o777
const passwordOf = (user: string): string =>
  new RegExp(`^NATS_PASSWORD_${user}=(.+)$`, 'm').exec(text('nats-passwords.env'))?.[1] ?? ''
const hashesOf = (user: string): string[] =>
  [
    ...text('nats-auth.conf').matchAll(new RegExp(`user: "${user}"\\n\\s+password: "(.+)"`, 'g')),
  ].map(([, hash = '']) => hash)
const inYaml = (name = 'headgate.yaml') => parse(text(name))

describe('headgate auth init', () => {
  test('makes three users, whose passwords stand in plain in one file and hashed in the other', () => {
    done('init')
    expect(readdirSync(dir).sort()).toEqual(['nats-auth.conf', 'nats-passwords.env'])
    const seen = new Set<string>()
    for (const user of ['headgate', 'gateway', 'operator']) {
      const password = passwordOf(user)
      expect(Buffer.from(password, 'base64url')).toHaveLength(24)
      seen.add(password)
      const [hash = ''] = hashesOf(user)
      expect(compareSync(password, hash)).toBe(true)
      expect(getRounds(hash)).toBe(8)
      expect(text('nats-auth.conf')).not.toContain(password)
    }
    expect(seen.size).toBe(3)
  })

  test('lets nobody but its owner read what it makes', () => {
    done('init')
    expect([mode('nats-auth.conf'), mode('nats-passwords.env')]).toEqual([0o600, 0o600])
  })

  test('prints no password, unless it is asked to', () => {
    expect(done('init')).not.toContain(passwordOf('headgate'))
    const other = mkdtempSync(join(tmpdir(), 'headgate-auth-'))
    const printed = done('init', '--print', '--out', other)
    const said = readFileSync(join(other, 'nats-passwords.env'), 'utf8')
    for (const line of said.split('\n').filter((one) => one.startsWith('NATS_')))
      expect(printed).toContain(line)
    rmSync(other, { recursive: true })
  })

  test('makes a configuration in which answers go to the asking tenant only', () => {
    done('init', '--config', 'headgate.yaml')
    const { config } = loadConfig({ path: join(dir, 'headgate.yaml'), emergency: false })
    expect(config.file.nats.reply_prefixes).toEqual(['_INBOX_<tenant>.'])
  })

  test('without a configuration says what to write into it', () => {
    const [line = ''] = /nats: .*/.exec(done('init')) ?? []
    expect(loadConfig({ path: null, text: line, emergency: false }).config.file.nats).toMatchObject(
      { reply_prefixes: ['_INBOX_<tenant>.'] },
    )
  })

  test('takes the subject prefix from the configuration', () => {
    writeFileSync(join(dir, 'headgate.yaml'), 'subject_prefix: ai\n')
    expect(fails('init', '--config', 'headgate.yaml', '--subject-prefix', 'llm')).toContain(
      'subject_prefix is ai',
    )
    done('init', '--config', 'headgate.yaml')
    expect(text('nats-auth.conf')).toContain('"ai.v1.admin.*"')
    expect(text('nats-auth.conf')).not.toContain('"llm.')
  })

  test.each(['nats-auth.conf', 'nats-passwords.env'])('replaces no %s that is there', (name) => {
    writeFileSync(join(dir, name), 'mine')
    expect(fails('init')).toContain(`${name} is there already`)
  })

  test('says in JSON what it did', () => {
    const said = JSON.parse(done('init', '--json', '--print'))
    expect(said.files.map((one: { path: string }) => one.path)).toEqual([
      join(dir, 'nats-auth.conf'),
      join(dir, 'nats-passwords.env'),
    ])
    expect(said.printed.NATS_PASSWORD_operator).toBe(passwordOf('operator'))
  })
})

describe('headgate auth add-tenant', () => {
  beforeEach(() => done('init'))

  test('adds a user, keeps the others as they are, and lets the gateway hear the new inbox', () => {
    const before = hashesOf('headgate')
    done('add-tenant', 'acme')
    done('add-tenant', 'bo-2', '--lanes', 'batch, premium')
    expect(hashesOf('headgate')).toEqual(before)
    expect(compareSync(passwordOf('acme'), hashesOf('acme')[0] ?? '')).toBe(true)
    const [gateway = ''] = /user: "gateway"[\s\S]*?\n {4}}/.exec(text('nats-auth.conf')) ?? []
    for (const subject of [
      '_INBOX_acme.>',
      '_INBOX_bo-2.>',
      'llm.v1.request.acme.*',
      'llm.v1.request.bo-2.batch',
    ])
      expect(gateway).toContain(`"${subject}"`)
    expect(gateway).not.toContain('bo-2.*"\n          "llm.v1.submit')
    expect(mode('nats-passwords.env')).toBe(0o600)
  })

  test('again does nothing; with other lanes it is refused', () => {
    done('add-tenant', 'acme', '--lanes', 'batch')
    const before = files()
    expect(done('add-tenant', 'acme')).toContain('it is so already')
    expect(done('add-tenant', 'acme', '--lanes', 'batch')).toContain('it is so already')
    expect(files()).toEqual(before)
    expect(fails('add-tenant', 'acme', '--lanes', 'premium')).toContain(
      'acme is there with lanes batch, and would now have lanes premium',
    )
    done('add-tenant', 'bo', '--lanes', 'batch,premium', '--config', 'headgate.yaml')
    const other = ['--lanes', 'premium,batch', '--config', 'headgate.yaml']
    expect(done('add-tenant', 'bo', ...other)).toContain('it is so already')
  })

  test('makes an HTTP key, prints it once, and keeps its hash only', () => {
    const shown = done('add-tenant', 'acme', '--http-key', '--config', 'headgate.yaml')
    const [key = ''] = /hg_\S+/.exec(shown) ?? []
    expect(Buffer.from(key.slice(3), 'base64url')).toHaveLength(24)
    const hash = createHash('sha256').update(key).digest('hex')
    expect(Object.values(files()).join('')).not.toContain(key)
    const { keys } = loadConfig({ path: join(dir, 'headgate.yaml'), emergency: false })
    expect([...keys]).toEqual([[hash, 'acme']])
  })

  test('gives a tenant that is there one more key, and its password stays', () => {
    done('add-tenant', 'acme', '--http-key', '--config', 'headgate.yaml')
    const [nats, passwords] = [text('nats-auth.conf'), text('nats-passwords.env')]
    done('add-tenant', 'acme', '--http-key', '--config', 'headgate.yaml')
    expect(inYaml().tenants.acme.keys).toHaveLength(2)
    expect([text('nats-auth.conf'), text('nats-passwords.env')]).toEqual([nats, passwords])
  })

  test('without a configuration says what to write into it', () => {
    const shown = done('add-tenant', 'acme', '--http-key', '--lanes', 'batch')
    const lines = shown.split('\n').filter((line) => line.startsWith('  '))
    const { config, keys } = loadConfig({ path: null, text: lines.join('\n'), emergency: false })
    expect(config.tenants.named.get('acme')?.lanes).toEqual(['batch'])
    const key = /hg_\S+/.exec(shown)?.[0] ?? ''
    expect(keys.get(createHash('sha256').update(key).digest('hex'))).toBe('acme')
  })

  test.each(['headgate', 'gateway', 'operator', 'default', 'unknown', '__proto__'])(
    'refuses the name %s, which means something else',
    (name) => {
      const { status, stderr } = run('add-tenant', name)
      expect(stderr).toContain('means something else')
      expect(status).toBe(2)
    },
  )

  test.each([
    [['add-tenant'], "missing required argument 'name'"],
    [['add-tenant', 'a.b'], 'expected 1 to 64 characters'],
    [['add-tenant', 'a*'], 'expected 1 to 64 characters'],
    [['add-tenant', 'a', '--lanes', 'x,y.z'], 'expected 1 to 64 characters'],
    [['add-tenant', 'a', '--lanes', ''], 'expected 1 to 64 characters'],
    [['add-tenant', 'a', '--fly'], "unknown option '--fly'"],
    [['fly'], "unknown command 'fly'"],
  ])('called wrong ends with status 2: %j', (args, said) => {
    const { status, stderr } = spawned(...args)
    expect(stderr).toContain(said)
    expect(status).toBe(2)
  })

  test('ends with status 1 and one line when it fails, and works in the folder it is called in', () => {
    expect(spawned('add-tenant', 'acme')).toMatchObject({ status: 0, stderr: '' })
    expect(hashesOf('acme')).toHaveLength(1)
    const { status, stdout, stderr } = spawned('init')
    expect([status, stdout]).toEqual([1, ''])
    expect(stderr).toMatch(/^headgate: nats-auth\.conf is there already: .*\n$/)
  })

  test('refuses two names that would share a variable', () => {
    done('add-tenant', 'a-b')
    expect(fails('add-tenant', 'a_b')).toContain('NATS_PASSWORD_a_b is the variable of a-b')
  })

  test('refuses a nats-auth.conf that was changed by hand, that is another, and that is not there', () => {
    const conf = text('nats-auth.conf')
    const changed = [
      conf.replace('"llm.v1.admin.*"', '"llm.v1.admin.*"\n          ">"'),
      conf.replace('# headgate-user {"name":"gateway"', '# headgate-user {"name":"gate.way"'),
      conf.replace(/"\$2b\$08\$.{20}/, '"'),
      conf.replace('"version":1', '"version":2'),
      'authorization { user: x, password: y }\n',
      '',
    ]
    for (const odd of changed) {
      writeFileSync(join(dir, 'nats-auth.conf'), odd)
      expect(fails('add-tenant', 'acme')).toMatch(/changed by hand|not a file that headgate auth/)
    }
    rmSync(join(dir, 'nats-auth.conf'))
    expect(fails('add-tenant', 'acme')).toContain('no such file; headgate auth init')
  })

  test('goes on without nats-passwords.env, and keeps what else stands in it', () => {
    rmSync(join(dir, 'nats-passwords.env'))
    done('add-tenant', 'acme')
    expect(passwordOf('acme')).not.toBe('')
    writeFileSync(join(dir, 'nats-passwords.env'), '# mine\nOTHER=1', { mode: 0o644 })
    done('add-tenant', 'bo')
    expect(text('nats-passwords.env')).toMatch(/^# mine\nOTHER=1\nNATS_PASSWORD_bo=\S+\n$/)
  })

  test('takes back from others the right to read passwords, and leaves them that of the hashes', () => {
    chmodSync(join(dir, 'nats-passwords.env'), 0o644)
    chmodSync(join(dir, 'nats-auth.conf'), 0o640)
    done('add-tenant', 'acme')
    expect([mode('nats-passwords.env'), mode('nats-auth.conf')]).toEqual([0o600, 0o640])
  })

  test('stops where another one is at work, and leaves nothing behind when it fails', () => {
    writeFileSync(join(dir, 'nats-auth.conf.lock'), '')
    expect(fails('add-tenant', 'acme')).toContain('nats-auth.conf.lock is there')
    rmSync(join(dir, 'nats-auth.conf.lock'))
    writeFileSync(join(dir, 'bad.yaml'), 'tenants: [1]\n')
    expect(fails('add-tenant', 'acme', '--config', 'bad.yaml')).toContain('does not load')
    const nowhere = join(dir, 'none', 'x.yaml')
    expect(fails('add-tenant', 'acme', '--config', nowhere)).toContain('ENOENT')
    done('add-tenant', 'acme')
    expect(readdirSync(dir).sort()).toEqual(['bad.yaml', 'nats-auth.conf', 'nats-passwords.env'])
  })

  test('at once from several shells loses no tenant: each is added or told to wait', async () => {
    const names = ['one', 'two', 'three', 'four']
    const ends = await Promise.all(
      names.map((name) => {
        const child = spawn(
          process.execPath,
          [inRoot('services/cli/headgate.ts'), 'auth', 'add-tenant', name],
          { cwd: dir, stdio: 'ignore' },
        )
        return new Promise<number | null>((resolve) => child.once('exit', resolve))
      }),
    )
    const added = names.filter((_, at) => ends[at] === 0)
    expect(added.length).toBeGreaterThan(0)
    expect(names.filter((name) => hashesOf(name).length > 0)).toEqual(added)
    expect(names.filter((name) => passwordOf(name) !== '')).toEqual(added)
  })
})

describe('headgate auth and headgate.yaml', () => {
  const config = `# Ours, since May.
llm_gateway: { max_inflight_global: 30 }   # half of the account

nats:
  # one per core
  egress_connections: 4

tenants:
  unknown: reject
  # the first of them
  acme:
    weight: 2.50
    keys:
      - "sha256:${'a'.repeat(64)}" # the old one
`
  beforeEach(() => {
    writeFileSync(join(dir, 'headgate.yaml'), config, { mode: 0o640 })
    done('init', '--config', 'headgate.yaml')
  })

  test('keep every comment, every other word, and the mode of the file', () => {
    done('add-tenant', 'acme', '--http-key', '--lanes', 'batch', '--config', 'headgate.yaml')
    const after = text('headgate.yaml')
    for (const comment of config.match(/#.*/g) ?? []) expect(after).toContain(comment)
    expect(after).toContain('weight: 2.50')
    const { nats, tenants, ...rest } = inYaml()
    expect(rest).toEqual({ llm_gateway: { max_inflight_global: 30 } })
    expect(nats).toEqual({ egress_connections: 4, reply_prefixes: ['_INBOX_<tenant>.'] })
    expect(tenants).toEqual({
      unknown: 'reject',
      acme: {
        weight: 2.5,
        keys: [`sha256:${'a'.repeat(64)}`, expect.stringMatching(/^sha256:[0-9a-f]{64}$/)],
        lanes: ['batch'],
      },
    })
    expect(mode('headgate.yaml')).toBe(0o640)
  })

  test('name a tenant where only the named are served', () => {
    done('add-tenant', 'bo', '--config', 'headgate.yaml')
    expect(inYaml().tenants.bo).toEqual({})
    const { config: resolved } = loadConfig({ path: join(dir, 'headgate.yaml'), emergency: false })
    expect(resolved.tenants.named.has('bo')).toBe(true)
  })

  test('leave the file alone where it says all of it, or where nothing has to be said', () => {
    writeFileSync(
      join(dir, 'headgate.yaml'),
      'nats: {reply_prefixes:   ["_INBOX_<tenant>."]} # so\n',
    )
    const before = text('headgate.yaml')
    done('add-tenant', 'bo', '--config', 'headgate.yaml')
    expect(text('headgate.yaml')).toBe(before)
  })

  test.each([
    ['the tenant', 'tenants: { bo: { lanes: [premium, batch] } }', 'lanes premium, batch'],
    ['unnamed tenants', 'tenants: { default: { lanes: [batch] } }', 'lanes batch'],
    ['nobody', 'tenants: { bo: {}, default: { lanes: [batch] } }', 'every lane'],
  ])('give the lanes that the file says of %s, and say them', (_, yaml, lanes) => {
    writeFileSync(join(dir, 'headgate.yaml'), `${yaml}\n`)
    expect(done('add-tenant', 'bo', '--config', 'headgate.yaml')).toContain(`user bo, ${lanes}`)
    const asked = [...text('nats-auth.conf').matchAll(/"llm\.v1\.request\.bo\.([^"]+)"/g)]
    const wanted = lanes === 'every lane' ? ['*'] : lanes.slice('lanes '.length).split(', ')
    expect([...new Set(asked.map(([, lane]) => lane))]).toEqual(wanted)
    // Nothing to do, where both say the same; where the file says otherwise since then, it is refused.
    done('add-tenant', 'bo', '--config', 'headgate.yaml')
    writeFileSync(
      join(dir, 'headgate.yaml'),
      'nats: { reply_prefixes: ["_INBOX_<tenant>."] }\ntenants: { bo: { lanes: [interactive] } }\n',
    )
    const shown = fails('add-tenant', 'bo', '--config', 'headgate.yaml')
    expect(shown).toMatch(/would now have lanes interactive|tenants\.bo\.lanes says otherwise/)
  })

  test('say that the limits for unnamed tenants no longer hold for one that is named', () => {
    writeFileSync(join(dir, 'headgate.yaml'), 'tenants: { default: { max_inflight: 3 } }\n')
    const shown = done('add-tenant', 'bo', '--lanes', 'batch', '--config', 'headgate.yaml')
    expect(shown).toContain('tenants.default holds for it no more')
  })

  test('take a file with keys that have another name now, and leave them as they are', () => {
    writeFileSync(join(dir, 'headgate.yaml'), 'lanes: { premium: { hold: 3 } }\n')
    done('add-tenant', 'bo', '--lanes', 'batch', '--config', 'headgate.yaml')
    expect(readFileSync(join(dir, 'headgate.yaml'), 'utf8')).toContain('hold: 3')
  })

  test.each([
    ['other prefixes', 'nats: { reply_prefixes: ["_INBOX."] }', 'nats.reply_prefixes says other'],
    ['other lanes', 'tenants: { bo: { lanes: [premium] } }', 'tenants.bo.lanes says otherwise'],
    ['another subject prefix', 'subject_prefix: ai', 'was made for llm'],
    ['an unknown key', 'natz: {}', 'does not load as it stands'],
    ['a contradiction', 'lanes: { batch: { reserved_slots: 3 } }', 'does not load as it stands'],
    ['no YAML', 'a: [', 'does not load as it stands'],
    ['a key twice', 'nats: {}\nnats: {}', 'does not load as it stands'],
    ['an alias', 'tenants: { x: &x {}, bo: *x }', 'tenants.bo: write it as a plain map'],
  ])('are refused by a file with %s', (_, yaml, said) => {
    writeFileSync(join(dir, 'headgate.yaml'), `${yaml}\n`)
    const shown = fails('add-tenant', 'bo', '--lanes', 'batch', '--config', 'headgate.yaml')
    expect(shown).toContain(said)
  })

  test('refuse a lane that the file does not have, and no secret of the file is shown', () => {
    writeFileSync(join(dir, 'headgate.yaml'), 'tenants: { acme: { keys: [sk-secret-one] } }\n')
    const shown = fails('add-tenant', 'bo', '--lanes', 'fast', '--config', 'headgate.yaml')
    expect(shown).toContain('no lane fast')
    writeFileSync(join(dir, 'headgate.yaml'), 'tenants: { acme: { keys: [sk-secret-one }\n')
    expect(fails('add-tenant', 'bo', '--config', 'headgate.yaml')).not.toContain('secret')
  })

  test('fill an empty heading, keep CRLF, and replace what a link points at', () => {
    writeFileSync(join(dir, 'real.yaml'), '# top\r\nnats:\r\ntenants:\r\n  bo:\r\n')
    symlinkSync(join(dir, 'real.yaml'), join(dir, 'link.yaml'))
    done('add-tenant', 'bo', '--http-key', '--config', 'link.yaml')
    expect(inYaml('real.yaml')).toMatchObject({
      nats: { reply_prefixes: ['_INBOX_<tenant>.'] },
      tenants: { bo: { keys: [expect.stringContaining('sha256:')] } },
    })
    expect(text('real.yaml').replaceAll('\r\n', '')).not.toContain('\n')
    expect(readdirSync(dir).filter((name) => name.includes('.new'))).toEqual([])
  })
})

describe('headgate auth remove-tenant', () => {
  beforeEach(() => {
    done('init', '--config', 'headgate.yaml')
    done('add-tenant', 'acme', '--http-key', '--lanes', 'batch', '--config', 'headgate.yaml')
    done('add-tenant', 'bo', '--config', 'headgate.yaml')
  })

  test('takes away user, password, keys and what the gateway might do for it', () => {
    done('remove-tenant', 'acme', '--config', 'headgate.yaml')
    expect(text('nats-auth.conf')).not.toContain('acme')
    expect(passwordOf('acme')).toBe('')
    expect(inYaml().tenants).toEqual({ acme: { lanes: ['batch'] } })
    expect(hashesOf('bo')).toHaveLength(1)
    expect(passwordOf('bo')).not.toBe('')
  })

  test('and add-tenant give it another password', () => {
    const before = passwordOf('acme')
    done('remove-tenant', 'acme')
    done('add-tenant', 'acme')
    expect(passwordOf('acme')).not.toBe(before)
    expect(compareSync(before, hashesOf('acme')[0] ?? '')).toBe(false)
  })

  test('knows no tenant that is not there', () => {
    expect(fails('remove-tenant', 'nobody')).toContain('there is no tenant nobody')
    expect(existsSync(join(dir, 'nats-auth.conf.lock'))).toBe(false)
  })
})
