/** Laws of following `headgate.yaml` while it runs. */
import { mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import {
  LOOK_MS,
  SETTLE_MS,
  watchConfig,
  type ConfigChange,
} from '../../../services/platform/config/watch.ts'
import { heard, type Heard } from '../../support/heard.ts'
import { manualClock, type ManualClock } from '../../support/manual-clock.ts'

let directory: string
let path: string
let clock: ManualClock
let changes: Heard<ConfigChange>
let watching: { close(): void } | null = null

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'headgate-watch-'))
  path = join(directory, 'headgate.yaml')
  clock = manualClock()
  changes = heard()
})
afterEach(() => {
  watching?.close()
  rmSync(directory, { recursive: true, force: true })
})

const watch = (text: string, clockToUse = clock): void => {
  watching = watchConfig({
    path,
    text,
    emergency: () => false,
    onChange: (change) => changes.add(change),
    clock: clockToUse,
  })
}
const drains = (): (number | null)[] =>
  changes.all.map((one) => (one.ok ? one.loaded.config.file.drain_ms : null))

test('a changed file is told once, an unchanged text never', () => {
  writeFileSync(path, 'drain_ms: 1\n')
  watch('drain_ms: 1\n')
  writeFileSync(path, 'drain_ms: 2\n')
  clock.advance(LOOK_MS * 3)
  writeFileSync(path, 'drain_ms: 2\n')
  clock.advance(LOOK_MS * 3)
  expect(drains()).toEqual([2])
})

test('a file put in its place is seen, as editors and Kubernetes do it', () => {
  writeFileSync(path, 'drain_ms: 1\n')
  watch('drain_ms: 1\n')
  writeFileSync(`${path}.new`, 'drain_ms: 3\n')
  renameSync(`${path}.new`, path)
  clock.advance(LOOK_MS)
  rmSync(path)
  writeFileSync(join(directory, 'elsewhere'), 'drain_ms: 4\n')
  symlinkSync(join(directory, 'elsewhere'), path)
  clock.advance(LOOK_MS)
  expect(drains()).toEqual([3, 4])
})

test('a bad file is an error and the next good one a change', () => {
  writeFileSync(path, 'drain_ms: 1\n')
  watch('drain_ms: 1\n')
  writeFileSync(path, 'drain_ms: soon\n')
  clock.advance(LOOK_MS)
  rmSync(path)
  clock.advance(LOOK_MS * 5)
  writeFileSync(path, 'drain_ms: 5\n')
  clock.advance(LOOK_MS)
  expect(drains()).toEqual([null, null, 5])
  const [bad, gone] = changes.all
  expect(bad?.ok === false && bad.error.message).toContain('drain_ms: found "soon"')
  expect(gone?.ok === false && gone.error.message).toContain('no such file')
})

test('the system tells of a change without the slow look, and many writes are one', async () => {
  writeFileSync(path, 'drain_ms: 1\n')
  const settling = heard<number>()
  watch('drain_ms: 1\n', {
    ...clock,
    after(ms, call) {
      settling.add(ms)
      return clock.after(ms, call)
    },
  })
  for (const ms of [6, 7, 8]) writeFileSync(path, `drain_ms: ${ms}\n`)
  await settling.find((ms) => ms === SETTLE_MS)
  clock.advance(SETTLE_MS)
  expect(drains()).toEqual([8])
})

test('closed, it holds no timer and says nothing more', () => {
  writeFileSync(path, 'drain_ms: 1\n')
  watch('drain_ms: 1\n')
  watching?.close()
  writeFileSync(path, 'drain_ms: 2\n')
  clock.advance(LOOK_MS * 3)
  expect(changes.all).toEqual([])
  expect(clock.pending()).toBe(0)
})

test('what cannot be read at one look is read at the next, though the file is as it was', () => {
  writeFileSync(path, 'drain_ms: 1\n')
  watch('drain_ms: 1\n')
  writeFileSync(path, 'drain_ms: 8\n')
  // A name that leads round in a circle is there and cannot be read, as when no descriptor is free.
  renameSync(path, `${path}.aside`)
  symlinkSync(path, path)
  clock.advance(LOOK_MS * 2)
  expect(changes.all.map((one) => one.ok)).toEqual([false])
  rmSync(path)
  renameSync(`${path}.aside`, path)
  clock.advance(LOOK_MS * 2)
  expect(drains()).toEqual([null, 8])
})

test('what a listener throws is heard, and the next change is told all the same', () => {
  const faults: unknown[] = []
  let fail = true
  writeFileSync(path, 'drain_ms: 1\n')
  watching = watchConfig({
    path,
    text: 'drain_ms: 1\n',
    emergency: () => false,
    clock,
    onFault: (error) => faults.push(error),
    onChange(change) {
      if (fail) throw new Error('planted')
      changes.add(change)
    },
  })
  writeFileSync(path, 'drain_ms: 2\n')
  clock.advance(LOOK_MS * 2)
  expect(faults).toHaveLength(1)
  fail = false
  writeFileSync(path, 'drain_ms: 33\n')
  clock.advance(LOOK_MS * 2)
  expect(drains()).toEqual([33])
})

test('a file that is emptied while it is followed is refused; {} means all defaults', () => {
  writeFileSync(path, 'drain_ms: 1\n')
  watch('drain_ms: 1\n')
  writeFileSync(path, '')
  clock.advance(LOOK_MS)
  writeFileSync(path, '{}\n')
  clock.advance(LOOK_MS)
  const [emptied, defaults] = changes.all
  expect(emptied).toMatchObject({
    ok: false,
    error: { message: expect.stringMatching(/headgate\.yaml: the file is empty now/) as string },
  })
  expect(defaults?.ok).toBe(true)
})
