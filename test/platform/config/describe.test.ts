/** docs/configuration.md says what the schema says. */
import { expect, test } from 'vitest'
import { parse } from 'yaml'
import { defaultConfig } from '#contracts/config'
import { renderConfigurationPage } from '../../../services/platform/config/describe.ts'
import { knobs } from '../../../services/platform/config/knobs.ts'
import { loadConfig } from '../../../services/platform/config/load.ts'
import { isStale, pages } from '../../support/generate.ts'

test('the page in the repository is the one the schema writes (npm run generate)', async () => {
  const page = pages.find((one) => one.path === 'docs/configuration.md')
  expect(page).toBeDefined()
  if (page !== undefined) expect(await isStale(page)).toBe(false)
})

test('every knob has a row, a reason and a source', () => {
  const page = renderConfigurationPage()
  for (const knob of knobs()) {
    // One of a group stands with the names of its group before its own.
    expect(page).toMatch(new RegExp(`[\`.]${knob.path.split('.').at(-1)}\``))
    if (knob.path === 'routes[].model' || knob.path === 'routes[].upstream') continue
    expect(knob, knob.path).toMatchObject({ why: /./, source: /./ })
  }
  expect(knobs().length).toBeGreaterThan(70)
})

test('no range is told as undefined', () => {
  expect(renderConfigurationPage()).not.toMatch(/undefined|NaN|\[object/)
})

test('every YAML block of the page loads', () => {
  const blocks = [...renderConfigurationPage().matchAll(/^( *)```yaml\n([\s\S]*?)```/gm)]
  expect(blocks.length).toBe(3)
  for (const [, indent = '', block = ''] of blocks) {
    const text = block.replaceAll(new RegExp(`^${indent}`, 'gm'), '')
    expect(() => loadConfig({ path: null, text, emergency: false })).not.toThrow()
    expect(parse(text)).toBeTypeOf('object')
  }
})

test('the defaults on the page are the ones in force', () => {
  const of = (path: string): unknown => knobs().find((knob) => knob.path === path)?.default
  expect(of('llm_gateway.max_inflight_global')).toBe(defaultConfig().maxInflight)
  expect(of('drain_ms')).toBe(defaultConfig().file.drain_ms)
})
