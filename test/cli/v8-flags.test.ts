/** What V8 is told when a program is started: half of a service's memory under load is what it may put off to collect. */
import { spawnSync } from 'node:child_process'
import { describe, expect, test } from 'vitest'
import { v8Flags } from '../../services/cli/v8-flags.ts'
import { headgate } from '../support/program.ts'

const service = { simulator: false, lessMemory: false }

describe('flags for V8', () => {
  test('a simulation has more room for young objects than V8 gives, a service what it gives', () => {
    expect(v8Flags(service, undefined)).toEqual([])
    expect(v8Flags({ ...service, simulator: true }, undefined)).toEqual([
      '--max-semi-space-size=64',
    ])
  })

  test('--less-memory gives young objects less room, and lets old ones grow less', () => {
    const flags = v8Flags({ ...service, lessMemory: true }, undefined)
    expect(flags).toEqual(['--max-semi-space-size=16', '--heap-growing-percent=50'])
  })

  test.each([
    ['--max-semi-space-size=32', ['--heap-growing-percent=50']],
    ['--no-warnings --max_semi_space_size=32', ['--heap-growing-percent=50']],
    ['--heap-growing-percent=20', ['--max-semi-space-size=16']],
  ])('NODE_OPTIONS stands: %s', (options, left) => {
    expect(v8Flags({ ...service, lessMemory: true }, options)).toEqual(left)
  })

  test('this Node knows them all', () => {
    const flags = v8Flags({ simulator: false, lessMemory: true }, undefined)
    const { status, stderr } = spawnSync(process.execPath, [...flags, '-e', '0'], {
      encoding: 'utf8',
    })
    expect([status, stderr]).toEqual([0, ''])
  })
})

test.each(['serve', 'gateway'])('headgate %s has --less-memory', async (verb) => {
  const help = headgate(['help', verb], {})
  await help.exit
  expect(help.output()).toContain('--less-memory')
})
