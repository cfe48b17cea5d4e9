/** What a stranger gets who installs the package: a command that runs and a library that imports. */
import { execFile, execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { statSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startSimulatedProvider } from '../services/simulated-provider/listener.ts'
import { fencedOf } from './support/fenced.ts'
import { inRoot, read, root } from './support/tree.ts'

const version: string = JSON.parse(read('package.json')).version
const dir = mkdtempSync(join(tmpdir(), 'headgate-pack-'))
const home = join(dir, 'home')
/** Who installs the client alone. */
const small = join(dir, 'small')
let packed: string[] = []
/** Another Node than ours, where one is named. */
const NODE = process.env['PACK_NODE'] ?? process.execPath

beforeAll(() => {
  const { pack, whole, client } = installLines()
  const answer = shell(root, pack.replace('npm pack --silent', 'npm pack --json'))
  // npm up to 11 answers with a list, npm 12 with a record by package name; the second one says a name.
  const [about] = Object.values(
    JSON.parse(answer.slice(0, answer.lastIndexOf('headgate-client'))),
  ) as [{ files: { path: string }[] }]
  packed = about.files.map((file) => file.path)
  for (const [where, line] of [
    [home, whole],
    [small, client],
  ] as const) {
    mkdirSync(where)
    writeFileSync(join(where, 'package.json'), '{ "private": true, "type": "module" }')
    shell(where, line)
  }
}, 300_000)

/** As the readme has them, but for the folder, and for the SDK the version of the lock file. */
function installLines(): { pack: string; whole: string; client: string } {
  const [block] = fencedOf('README.md').filter(({ text }) => text.includes('npm pack'))
  const [pack = '', cd, whole = '', client = '', ...more] = (block?.text ?? '').trim().split('\n')
  expect([cd, ...more]).toEqual(['cd ../your-program'])
  const sdk = versionOf(inRoot('node_modules'), '@anthropic-ai/sdk')
  const here = (line: string): string =>
    line.replaceAll('/tmp', dir).replace('@anthropic-ai/sdk', `$&@${sdk}`)
  return { pack: here(pack), whole: here(whole), client: here(client) }
}

const versionOf = (modules: string, name: string): string =>
  (JSON.parse(readFileSync(join(modules, name, 'package.json'), 'utf8')) as { version: string })
    .version

afterAll(() => rmSync(dir, { recursive: true, force: true }), 60_000)

describe('the packed package', () => {
  test('holds the built code with its types, the licence and the readme, and no source or test', () => {
    for (const wanted of [
      'LICENSE',
      'README.md',
      'CHANGELOG.md',
      'docs/configuration.md',
      'docs/contracts/asyncapi.json',
      'docs/contracts/schemas/error-body.json',
      'dist/package.json',
      'dist/services/cli/headgate.js',
      'dist/services/client/client.js',
      'dist/services/client/client.d.ts',
      'dist/contracts/contracts.js',
      'dist/contracts/contracts.d.ts',
      'dist/machines/machines.js',
      'dist/machines/machines.d.ts',
    ])
      expect(packed).toContain(wanted)
    expect(packed.filter((path) => /(?<!\.d)\.ts$/.test(path))).toEqual([])
    expect(packed.filter((path) => /^(test|examples|\.ci|deploy)\//.test(path))).toEqual([])
  })

  test('puts a command on the path that helps', () => {
    const command = join(home, 'node_modules', '.bin', 'headgate')
    const run = spawnSync(process.execPath, [command, '--help'], { cwd: home, encoding: 'utf8' })
    expect(run.stderr).toBe('')
    expect(run.status).toBe(0)
    expect(run.stdout).toMatch(/usage: headgate/i)
  })

  test('knows its version', () => {
    const command = join(home, 'node_modules', '.bin', 'headgate')
    expect(node(command, '--version').trim()).toBe(version)
  })

  test('lets a program import headgate/client', () => {
    const program = `import * as client from 'headgate/client'; console.log(Object.keys(client).length > 0)`
    expect(node('--input-type=module', '-e', program).trim()).toBe('true')
  })

  test('lets a program import headgate/contracts, and any document of it', () => {
    const program = `
      import { eventData, refusals } from 'headgate/contracts'
      import asyncapi from 'headgate/contracts/asyncapi.json' with { type: 'json' }
      import error from 'headgate/contracts/schemas/error-body.json' with { type: 'json' }
      console.log(refusals.queue_full.http, eventData.limit.shape.route.safeParse('r').success)
      console.log(asyncapi.asyncapi, error.title)`
    expect(node('--input-type=module', '-e', program)).toBe('429 true\n3.0.0 ErrorBody\n')
  })

  test('lets a program run a machine of headgate/machines in an XState system of its own', () => {
    writeFileSync(join(home, 'machines.mjs'), MACHINES)
    expect(node('machines.mjs')).toBe('open\nhalfOpen\n')
  })

  test('lets a program run a whole Headgate of headgate, and asks a real upstream with it', async () => {
    const provider = await startSimulatedProvider({ ttftMs: 0, tokensPerSecond: 0 })
    writeFileSync(
      join(home, 'embed.mjs'),
      EMBED.replace(' as const', '').replace('BASE_URL', provider.url),
    )
    try {
      const run = await promisify(execFile)(NODE, ['embed.mjs'], { cwd: home })
      expect(run).toEqual({ stdout: 'message completed acme\nmessage\nmessage\n', stderr: '' })
    } finally {
      await provider.close()
    }
  })

  test('lets a program ask over NATS with headgate/client, and tells a missing server by its code', () => {
    writeFileSync(join(home, 'client.mjs'), CLIENT)
    expect(node('client.mjs')).toBe('unreachable true\n')
  })

  test('is found by a program in the checkout too, once that is built', () => {
    const program = `import { HeadgateClient } from 'headgate/client'; console.log(typeof HeadgateClient)`
    expect(node('--input-type=module', '-e', program, { in: root })).toBe('function\n')
  })

  test('keeps every other door shut', () => {
    for (const shut of [
      'dist/services/client/client.js',
      'dist/machines/breaker.js',
      'machines/run',
    ]) {
      const program = `await import('headgate/${shut}').catch((e) => console.log(e.code))`
      const said = node('--input-type=module', '-e', program).trim()
      expect(said).toBe('ERR_PACKAGE_PATH_NOT_EXPORTED')
    }
  })

  test('has types that a strict consumer compiles against', () => {
    writeFileSync(
      join(home, 'use.ts'),
      `import * as client from 'headgate/client'
import { eventData, refusals, type RefusalCode } from 'headgate/contracts'
export const names: string[] = Object.keys(client)
export const status: (code: RefusalCode) => number | null = (code) => refusals[code].http
export const route: string = eventData.limit.parse({}).route
`,
    )
    writeFileSync(join(home, 'machines.ts'), MACHINES)
    writeFileSync(join(home, 'embed.ts'), EMBED)
    writeFileSync(join(home, 'client.ts'), CLIENT)
    const files = ['use.ts', 'machines.ts', 'embed.ts', 'client.ts']
    expect(compiled(home, ...files)).toEqual({ status: 0, stdout: '' })
  })

  test('compiles every program of the readme for a strict consumer', () => {
    const programs = fencedOf('README.md').filter(({ language }) => language === 'ts')
    const names = programs.map(({ line, text }) => {
      writeFileSync(join(home, `readme-${line}.mts`), text)
      return `readme-${line}.mts`
    })
    expect(names.length).toBeGreaterThan(3)
    // What a program may write to is in the types of Node.
    const types = ['--typeRoots', inRoot('node_modules/@types'), '--types', 'node']
    expect(compiled(home, ...types, ...names)).toEqual({ status: 0, stdout: '' })
  })
})

describe('the packed client', () => {
  test('brings what carries a call, and nothing of a server', () => {
    expect(packagesIn(small).toSorted()).toEqual([
      '@nats-io/nats-core',
      '@nats-io/nkeys',
      '@nats-io/nuid',
      '@nats-io/transport-node',
      'headgate-client',
      // Signs for nkeys.
      'tweetnacl',
      'zod',
    ])
  })

  test('is a small part of the whole', () => {
    const of = (where: string) => ({
      packages: packagesIn(where).length,
      megabytes: megabytesOf(join(where, 'node_modules')),
    })
    const [client, whole] = [of(small), of(home)]
    console.log(`headgate-client: ${shown(client)}; headgate and its peer: ${shown(whole)}`)
    // A measure starts at what it is and may only improve.
    expect(client.megabytes).toBeLessThan(8)
    expect(whole.packages).toBeLessThan(125)
  })

  test('asks over NATS, and tells a missing server by its code', () => {
    writeFileSync(join(small, 'client.mjs'), ALONE.replace(': unknown', ''))
    expect(node('client.mjs', { in: small })).toBe('unreachable true\n')
  })

  test('compiles for a strict consumer who has not installed the SDK', () => {
    writeFileSync(join(small, 'client.ts'), ALONE)
    expect(compiled(small, 'client.ts')).toEqual({ status: 0, stdout: '' })
  })

  test('speaks the types of the SDK where that is installed', () => {
    const wrong = ALONE.replace('max_tokens: 5', "max_tokens: 'five'")
    writeFileSync(join(small, 'wrong.ts'), wrong)
    expect(compiled(small, 'wrong.ts').status).toBe(0)
    const vendor = join(small, 'node_modules', '@anthropic-ai')
    mkdirSync(vendor)
    symlinkSync(inRoot('node_modules/@anthropic-ai/sdk'), join(vendor, 'sdk'))
    expect(compiled(small, 'wrong.ts').stdout).toMatch(/Type 'string' is not assignable/)
    expect(compiled(small, 'client.ts')).toEqual({ status: 0, stdout: '' })
    rmSync(vendor, { recursive: true })
  })
})

describe('the SDK that is installed beside it', () => {
  test('may be any of the range: these are its ends', () => {
    const { peerDependencies } = JSON.parse(read('package.json')) as {
      peerDependencies: Record<string, string>
    }
    expect(peerDependencies).toEqual({ '@anthropic-ai/sdk': '>=1.0.0 <2' })
    expect(versionOf(inRoot('node_modules'), 'anthropic-sdk-oldest')).toBe('1.0.0')
  })

  test.each(['anthropic-sdk-oldest', 'anthropic-sdk-newest'])(
    '%s runs a whole Headgate, is scheduled by it, and compiles with it',
    async (alias) => {
      const provider = await startSimulatedProvider({ ttftMs: 0, tokensPerSecond: 0 })
      const sdk = join(home, 'node_modules', '@anthropic-ai', 'sdk')
      const kept = `${sdk}-kept`
      renameSync(sdk, kept)
      try {
        symlinkSync(inRoot(`node_modules/${alias}`), sdk)
        const program = EMBED.replace('BASE_URL', provider.url)
        writeFileSync(join(home, 'range.ts'), program)
        writeFileSync(join(home, 'range.mjs'), program.replace(' as const', ''))
        const run = await promisify(execFile)(NODE, ['range.mjs'], { cwd: home })
        expect(run).toEqual({ stdout: 'message completed acme\nmessage\nmessage\n', stderr: '' })
        expect(compiled(home, 'range.ts')).toEqual({ status: 0, stdout: '' })
      } finally {
        rmSync(sdk)
        renameSync(kept, sdk)
        await provider.close()
      }
    },
  )
})

function packagesIn(where: string): string[] {
  const lock = JSON.parse(readFileSync(join(where, 'package-lock.json'), 'utf8')) as {
    packages: Record<string, object>
  }
  return Object.keys(lock.packages)
    .filter((path) => path !== '')
    .map((path) => path.replace(/^.*node_modules\//, ''))
}

const megabytesOf = (folder: string): number =>
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .reduce((sum, entry) => sum + statSync(join(entry.parentPath, entry.name)).size, 0) / 1e6

const shown = (of: { packages: number; megabytes: number }): string =>
  `${of.packages} packages, ${of.megabytes.toFixed(1)} MB`

/** Each compiles as it stands, and runs without its types. */
const EMBED = `
import Anthropic from '@anthropic-ai/sdk'
import { createHeadgate, safeMessageCreate, withHeadgate } from 'headgate'

const baseURL = 'BASE_URL'
const params = { model: 'claude-haiku-4-5', max_tokens: 5, messages: [{ role: 'user' as const, content: 'hi' }] }
const headgate = await createHeadgate({ llm_gateway: { max_inflight_global: 8 } }, { baseUrl: baseURL, apiKey: 'k' })
const { body, accounting } = await headgate.as('acme').request(params)
console.log(body.type, accounting.outcome, headgate.as('acme').tenant)
const client = new Anthropic({ baseURL, apiKey: 'k' })
console.log((await withHeadgate(client, { headgate }).messages.create(params)).type)
console.log((await safeMessageCreate(client, params)).type)
await headgate.close()
`

const CLIENT = `
import { HeadgateClient, isHeadgateError } from 'headgate/client'

const headgate = new HeadgateClient({ tenant: 'acme', servers: 'nats://127.0.0.1:9' })
try {
  const { body } = await headgate.request({ model: 'claude-haiku-4-5', max_tokens: 5, messages: [{ role: 'user', content: 'hi' }] })
  const receipt = await headgate.submit({ model: 'claude-haiku-4-5', max_tokens: 5, messages: [{ role: 'user', content: 'hi' }] }, { id: 'mine', notBeforeMs: 1_000 })
  console.log(body.content, (await headgate.jobs.wait(receipt, { timeoutMs: 60_000 })).body.content)
} catch (error) {
  if (isHeadgateError(error, 'unreachable')) console.log(error.code, error.retryable)
}
await headgate.close()
`

const MACHINES = `
import { createActor, SimulatedClock, setup } from 'xstate'
import { breakerInput, breakerMachine, compile, lifecycleMachine, permits } from 'headgate/machines'

const clock = new SimulatedClock()
export const input = breakerInput({ random: () => 0.5, minSamples: 1 })
export const breaker = createActor(breakerMachine, { input, clock }).start()
permits(breaker, { limit: () => 1, now: () => clock.now() }).take()?.ended('failed')
console.log(breaker.getSnapshot().value)
clock.increment(15_000)
console.log(breaker.getSnapshot().value)
export const table = compile(lifecycleMachine)
export const owner = setup({ actors: { breaker: breakerMachine } }).createMachine({
  invoke: { src: 'breaker', input: () => input },
})
`

const ALONE = CLIENT.replace('headgate/client', 'headgate-client').replace(
  'catch (error)',
  'catch (error: unknown)',
)

function node(...given: (string | { in: string })[]): string {
  const args = given.filter((one) => typeof one === 'string')
  const cwd = given.find((one) => typeof one !== 'string')?.in ?? home
  return execFileSync(NODE, args, { cwd, encoding: 'utf8' })
}

/** For a strict consumer; with declarations, since whoever wraps a machine in a library of his own has to name
 *  its types. */
function compiled(where: string, ...files: string[]): { status: number | null; stdout: string } {
  const flags = ['--noEmit', '--strict', '--declaration', '--skipLibCheck', '--types', '']
  const target = ['--module', 'nodenext', '--target', 'es2024']
  const tsc = inRoot('node_modules/typescript/bin/tsc')
  const run = spawnSync(process.execPath, [tsc, ...flags, ...target, ...files], {
    cwd: where,
    encoding: 'utf8',
  })
  return { status: run.status, stdout: run.stdout }
}

/** The command's own words come through when it fails. */
function shell(cwd: string, line: string): string {
  const run = spawnSync('sh', ['-c', line], {
    cwd,
    encoding: 'utf8',
    env: {
      ...process.env,
      npm_config_loglevel: 'error',
      npm_config_update_notifier: 'false',
      npm_config_audit: 'false',
      npm_config_fund: 'false',
    },
  })
  if (run.status !== 0) throw new Error(`${line}\n${run.stdout}\n${run.stderr}`)
  return run.stdout
}
