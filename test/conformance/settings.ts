/** What Settings promise, as sentences. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Settings } from '#ports'
import { heard } from '../support/heard.ts'

export function settingsConformance(
  name: string,
  make: () => Promise<{ settings: Settings; stop(): Promise<void> }>,
): void {
  describe(`settings: ${name}`, () => {
    let settings: Settings
    let stop: () => Promise<void>
    beforeAll(async () => {
      ;({ settings, stop } = await make())
    })
    afterAll(() => stop())

    test('what was never put is null, what was put is there', async () => {
      expect(await settings.get('emergency')).toBeNull()
      await settings.put('emergency', 'on')
      await settings.put('emergency', 'off')
      expect(await settings.get('emergency')).toBe('off')
    })

    test('a watcher hears what is there, then every change', async () => {
      await settings.put('lane.batch', 'paused')
      const changes = heard<string>()
      await settings.watch((key, value) => changes.add(`${key}=${value}`))
      await changes.find((change) => change === 'lane.batch=paused')
      await settings.put('lane.batch', 'running')
      await changes.find((change) => change === 'lane.batch=running')
    })
  })
}
