/** How the command is called, and how it ends when it is called wrong. */
import { spawnSync } from 'node:child_process'
import { describe, expect, test } from 'vitest'
import { inRoot, read } from '../support/tree.ts'

const run = (...args: string[]) =>
  spawnSync(process.execPath, [inRoot('services/cli/headgate.ts'), ...args], {
    encoding: 'utf8',
    env: { ...process.env, NATS_URL: 'nats://127.0.0.1:9' },
  })

describe('headgate', () => {
  test('helps, and lists only verbs that are there', () => {
    const { status, stdout, stderr } = run('--help')
    expect([status, stderr]).toEqual([0, ''])
    expect(stdout).toMatch(/^Usage: headgate /)
    const verbs = [...stdout.matchAll(/^ {2}([a-z]+) /gm)].map(([, verb]) => verb)
    expect(verbs).toEqual(
      'up serve gateway request submit result jobs cancel status usage limits budgets top simulate record machines emergency health upstream doctor provider auth help'.split(
        ' ',
      ),
    )
  })

  test('says its version', () => {
    expect(run('--version').stdout.trim()).toBe(JSON.parse(read('package.json')).version)
  })

  test('help COMMAND says all of it', () => {
    const { status, stdout } = run('help', 'up')
    expect(status).toBe(0)
    for (const flag of ['--trace', '--flood', '--noisy', '--compare', '--seed'])
      expect(stdout).toContain(flag)
  })

  test.each([
    [['status', 'acme', 'x', '--json']],
    [['submit', '--message', 'x', '--json']],
    [['usage', '--json']],
  ])('what failed is an error in JSON where a script asked for that: %j', (args) => {
    const { status, stdout, stderr } = run(...args)
    expect(status).toBe(1)
    expect(JSON.parse(stdout)).toMatchObject({ type: 'error', error: { type: 'api_error' } })
    expect(stderr).toContain((JSON.parse(stdout) as { error: { message: string } }).error.message)
  })

  test.each([
    [['fly'], "unknown command 'fly'"],
    [['up', '--fly'], "unknown option '--fly'"],
    [['up', '--nats-port', '70000'], 'expected a port from 0 to 65535'],
    [['up', '--nats-port', '4333'], 'NATS_URL is set'],
    [['up', '--speed', '3'], '--speed: needs --trace FILE or --steady'],
    [['up', '--steady', '--compare'], 'needs --flood or --noisy'],
    [['up', '--steady', '--flood', 'batch'], 'expected LANE:FACTOR'],
    [['emergency', 'maybe'], 'Allowed choices are on, off'],
    [['machines', 'toaster'], 'Allowed choices are'],
    [['machines', '--format', 'svg'], 'name one machine'],
    [['request'], 'either a body'],
    [['request', 'hello'], 'expected the JSON of a Messages call'],
    [['request', 'package.json'], 'of a file: @package.json'],
    [['request', '[]'], 'expected a JSON object'],
    [['request', '{}', '--message', 'x'], 'either a body'],
    [['submit'], 'either a body'],
    [['submit', '{}', '--file', 'x'], '--file: its lines say all of a job; leave out body'],
    [['submit', '--file', 'x', '--model', 'm'], 'leave out --model'],
    [['submit', '{}', '--at-once', '2'], '--at-once: needs --file'],
    [['submit', '--file', '-'], '--file -: needs --id'],
    [['submit', '--file', 'x', '--id', 'x'.repeat(49)], 'at most 48 characters'],
    [['result', 'x', '--timeout', '5'], '--timeout: needs --wait'],
    [['jobs', '--dead', '--state', 'queued'], 'leave out --state queued'],
    [['jobs', '--state', 'lost'], 'Allowed choices are queued, running, delayed, dead'],
    [['jobs', 'requeue', 'acme'], 'there is only acme: --tenant says whose it is'],
    [['submit', '{}', '--deadline', '604800001'], 'expected milliseconds from 1 to 604800000'],
    [['submit', '{}', '--not-before', '-1'], 'expected milliseconds from 0 to 604800000'],
    [['serve', '--config', ''], 'expected the name of a file, and it is empty'],
    [['cancel', 'acme'], 'there is only acme: --tenant says whose it is'],
    [['cancel', 'a.b', 'x'], 'expected 1 to 64 characters'],
  ])('called wrong ends with status 2: %j', (args, said) => {
    const { status, stdout, stderr } = run(...args)
    expect(stderr).toContain(said)
    expect(stderr).not.toContain('    at ')
    expect(stdout).toBe('')
    expect(status).toBe(2)
  })

  test('fails with status 1 and one line when there is no server', () => {
    const { status, stderr } = run('request', '--message', 'hello')
    expect(stderr).toMatch(/^headgate: cannot connect to NATS at nats:\/\/127\.0\.0\.1:9: .*\n$/)
    expect(status).toBe(1)
  })

  test('says what a trace lacks before anything is started', () => {
    const { status, stderr } = run('up', '--trace', '/nowhere.csv')
    expect(stderr).toBe('headgate: /nowhere.csv: cannot be read (ENOENT)\n')
    expect(status).toBe(1)
  })
})
