/** What a stranger gets who installs the package: a command that runs and a library that imports. */
import { execFile, execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startSimulatedProvider } from '../services/simulated-provider/listener.ts'
import { inRoot, read, root } from './support/tree.ts'

const version: string = JSON.parse(read('package.json')).version
const dir = mkdtempSync(join(tmpdir(), 'headgate-pack-'))
const home = join(dir, 'home')
let packed: string[] = []
/** Another Node than ours, where one is named. */
const NODE = process.env['PACK_NODE'] ?? process.execPath

beforeAll(() => {
  const answer = npm(root, 'pack', '--json', '--pack-destination', dir)
  // npm up to 11 answers with a list, npm 12 with a record by package name.
  const [about] = Object.values(JSON.parse(answer)) as [
    { filename: string; files: { path: string }[] },
  ]
  packed = about.files.map((file) => file.path)
  mkdirSync(home)
  writeFileSync(join(home, 'package.json'), '{ "private": true, "type": "module" }')
  npm(home, 'install', '--no-audit', '--no-fund', join(dir, about.filename))
}, 120_000)

afterAll(() => rmSync(dir, { recursive: true, force: true }))

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
    const flags = ['--noEmit', '--strict', '--module', 'nodenext', '--target', 'es2024']
    // With declarations, since whoever wraps a machine in a library of his own has to name its types.
    const library = [
      '--declaration',
      '--skipLibCheck',
      '--types',
      '',
      'use.ts',
      'machines.ts',
      'embed.ts',
      'client.ts',
    ]
    const tsc = inRoot('node_modules/typescript/bin/tsc')
    const run = spawnSync(process.execPath, [tsc, ...flags, ...library], {
      cwd: home,
      encoding: 'utf8',
    })
    expect(run.stdout).toBe('')
    expect(run.status).toBe(0)
  })
})

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
  console.log(body.content)
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

const node = (...args: string[]): string =>
  execFileSync(NODE, args, { cwd: home, encoding: 'utf8' })

/** npm's own words come through when it fails. */
function npm(cwd: string, ...args: string[]): string {
  const run = spawnSync('npm', args, {
    cwd,
    encoding: 'utf8',
    env: { ...process.env, npm_config_loglevel: 'error', npm_config_update_notifier: 'false' },
  })
  if (run.status !== 0) throw new Error(`npm ${args.join(' ')}\n${run.stdout}\n${run.stderr}`)
  return run.stdout
}
