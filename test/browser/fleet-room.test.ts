/** The fleet's room of one member's page, held against what another member says of itself, until that one is killed. */
import { connect, type NatsConnection } from '@nats-io/transport-node'
import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openChromium } from '../support/chromium.ts'
import { MODEL, openTornFleet, type TornFleet } from '../support/torn-fleet.ts'

const browser: Browser | null = await openChromium()
const PATIENCE = { timeout: 40_000, interval: 100 }

let fleet: TornFleet
let page: Page
let nc: NatsConnection
/** How often members were asked for their snapshots. */
let asked = 0
const wrong: string[] = []

beforeAll(async () => {
  if (browser === null) return
  fleet = await openTornFleet()
  nc = await connect({ servers: fleet.natsUrl })
  nc.subscribe('llm.v1.admin.snapshot', { callback: () => void asked++ })
  await nc.flush()
  page = await browser.newPage({ viewport: { width: 1280, height: 900 } })
  page.on('pageerror', (error) => wrong.push(error.message))
  await page.goto(fleet.whole.url)
  await page.locator('#fleet-body tbody tr').nth(1).waitFor({ state: 'attached' })
}, 120_000)

afterAll(async () => {
  if (browser === null) return
  await browser.close()
  await nc.close()
  await fleet.close()
  expect(wrong).toEqual([])
}, 60_000)

/** Rows of the room by their first cell, whole. */
const rows = async (): Promise<Map<string, string>> => {
  const texts = await page.locator('#fleet-body tbody tr').allInnerTexts()
  return new Map(texts.map((text) => [text.split('\t')[0]?.trim() ?? '', text]))
}
const waitingAt = (text = '', member: string): number =>
  Number(new RegExp(`${member}: (\\d+)`).exec(text)?.[1] ?? 0)

describe.skipIf(browser === null)("the fleet's room", () => {
  test('asks nobody while it is not seen, and then once a second', async () => {
    const frames = () => page.evaluate<number>(`Number(document.documentElement.dataset.seq)`)
    const first = await frames()
    await expect.poll(frames, PATIENCE).toBeGreaterThan(first + 2)
    expect(asked).toBe(0)
    await page.locator('#fleet').scrollIntoViewIfNeeded()
    await expect.poll(() => asked, PATIENCE).toBeGreaterThan(1)
    await page.evaluate('scrollTo(0, 0)')
    const from = { asked, seq: await frames() }
    await expect.poll(frames, PATIENCE).toBeGreaterThan(from.seq + 3)
    expect(asked - from.asked).toBeLessThan(3)
    await page.locator('#fleet').scrollIntoViewIfNeeded()
  })

  test('shows what waits at another member, and that its breaker is open', async () => {
    fleet.ask({ tenant: 'acme', lane: 'batch', calls: 80 })
    await expect
      .poll(async () => {
        const { lanes, routes } = await fleet.cut.snapshot()
        const batch = lanes.find(({ name }) => name === 'batch')?.queued ?? 0
        const shown = await rows()
        const open = /✖ open on cut/.test(shown.get(`default-${MODEL}`) ?? '')
        const same = waitingAt(shown.get('batch'), 'cut') === batch
        return batch > 0 && same && open && routes[0]?.breaker === 'open'
      }, PATIENCE)
      .toBe(true)
    expect((await rows()).get('acme')).toMatch(/^acme\t\d+\t\d+$/)
    expect(await page.locator('#fleet-body [role=status]').innerText()).toMatch(
      /^The 2 members together: \d+ in flight of 16 slots, \d+ waiting/,
    )
  })

  test('says since when a killed member is not heard, and leaves it out of the sums', async () => {
    fleet.cut.program.child.kill('SIGKILL')
    await fleet.cut.program.exit
    await expect
      .poll(() => page.locator('#fleet-body [role=status]').innerText(), PATIENCE)
      .toMatch(
        /^▲ cut is not heard since \d\d:\d\d:\d\d \(then \d+ in flight, \d+ waiting\)\. 1 of 2 members is heard/,
      )
    const shown = await rows()
    expect(shown.get('cut')).toMatch(/▲ not heard since \d\d:\d\d:\d\d/)
    expect([shown.get('batch'), shown.get(`default-${MODEL}`)].join()).not.toContain('cut')
  })
})
