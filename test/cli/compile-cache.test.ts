/** From the second start on, nothing is compiled that was before. */
import { spawnSync } from 'node:child_process'
import { expect, test } from 'vitest'
import { inRoot } from '../support/tree.ts'

/** What Node says of its compile cache while `headgate --version` runs. */
function said(more: Record<string, string>): string {
  const { NODE_COMPILE_CACHE: _, ...env } = process.env
  const { stderr, status } = spawnSync(
    process.execPath,
    [inRoot('services/cli/headgate.ts'), '--version'],
    { encoding: 'utf8', env: { ...env, NODE_DEBUG_NATIVE: 'COMPILE_CACHE', ...more } },
  )
  expect(status).toBe(0)
  return stderr
}

test('the second start finds what the first one left', () => {
  said({})
  expect(said({})).toMatch(/headgate-code\S+ for StrippedTypeScript \S+cli\/jobs\.ts.*success/)
})

test('who wants none has none', () => {
  expect(said({ NODE_DISABLE_COMPILE_CACHE: '1' })).not.toContain('headgate-code')
})
