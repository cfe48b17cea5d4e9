/** `headgate machines`: what it prints is what runs. */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { createMachine } from 'xstate'
import { breakerMachine } from '#machines/breaker'
import { mermaid } from '#machines/chart'
import { inRoot, read } from '../support/tree.ts'

const run = (...args: string[]): { status: number | null; stdout: string; stderr: string } =>
  spawnSync(process.execPath, [inRoot('services/cli/headgate.ts'), 'machines', ...args], {
    encoding: 'utf8',
  })

test('Mermaid text of one or of all', () => {
  expect(run('breaker').stdout).toBe(mermaid(breakerMachine))
  expect(run().stdout.match(/^stateDiagram-v2$/gm)?.length).toBe(3)
})

test('the JSON makes a machine of the same states and events', () => {
  const config = JSON.parse(run('breaker', '--format', 'json').stdout)
  const machine = createMachine(config)
  expect(Object.keys(machine.root.states)).toEqual(Object.keys(breakerMachine.root.states))
  expect(machine.events.filter((type) => !type.startsWith('xstate.')).sort()).toEqual(
    breakerMachine.events.filter((type) => !type.startsWith('xstate.')).sort(),
  )
  expect(machine.root.initial.target[0]?.key).toBe('closed')
})

test('the drawing is the one in the docs', () => {
  expect(run('breaker', '--format', 'svg').stdout.trim()).toBe(
    read('docs/charts/breaker.svg').trim(),
  )
})

test('--out writes a file for each; a folder that is not there fails in one line', () => {
  const folder = mkdtempSync(join(tmpdir(), 'headgate-machines-'))
  try {
    expect(run('--format', 'svg', '--out', folder).status).toBe(0)
    expect(readdirSync(folder).sort()).toEqual(['breaker.svg', 'lifecycle.svg', 'limit.svg'])
    expect(readFileSync(join(folder, 'limit.svg'), 'utf8')).toContain('<style>')
  } finally {
    rmSync(folder, { recursive: true })
  }
  const { status, stderr } = run('--out', join(folder, 'none'))
  expect(status).toBe(1)
  expect(stderr).not.toContain('    at ')
})
