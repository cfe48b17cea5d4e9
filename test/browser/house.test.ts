/** The page before a real house under load: what is lit is what is true, and each act does what it says. */
import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { snapshot, type Snapshot } from '#contracts/snapshot'
import { openChromium } from '../support/chromium.ts'
import { startStack, watchFeed, type Stack } from '../support/stack.ts'
import { openTraffic, type Traffic } from '../support/traffic.ts'

const browser: Browser | null = await openChromium()
const PATIENCE = { timeout: 60_000, interval: 50 }

let stack: Stack
let load: Traffic
let page: Page
const wrong: string[] = []

beforeAll(async () => {
  if (browser === null) return
  stack = await startStack()
  load = await openTraffic(stack.natsUrl)
  for (const [at, lane] of ['premium', 'interactive', 'batch'].entries())
    for (const model of ['claude-sonnet-4-5', 'claude-opus-4-1'])
      load.add({
        tenant: `tenant-${at}`,
        lane,
        model,
        perSecond: 4,
        stream: lane === 'interactive',
      })
  page = await browser.newPage({ viewport: { width: 1280, height: 900 } })
  page.setDefaultTimeout(30_000)
  page.on('pageerror', (error) => wrong.push(error.message))
  page.on('console', (message) => {
    if (message.type() === 'error' && !/Failed to load resource|ERR_/.test(message.text()))
      wrong.push(message.text())
  })
  await page.goto(stack.url)
  await page.locator('.routes button').nth(1).waitFor()
}, 180_000)

afterAll(async () => {
  if (browser === null) return
  await load.close()
  await browser.close()
  await stack.stop()
  expect(wrong).toEqual([])
}, 180_000)

const until = (expression: string) =>
  vi.waitFor(async () => {
    if (await page.evaluate(expression)) return
    throw new Error(`never: ${expression}; it says: ${await page.innerText('#state')}`)
  }, PATIENCE)
const seen = async (): Promise<Snapshot> =>
  snapshot.parse(await (await fetch(`${stack.url}/api/snapshot`)).json())
const untilSeen = (true_: (of: Snapshot) => boolean) =>
  vi.waitFor(async () => {
    if (!true_(await seen())) throw new Error('never so in the snapshot')
  }, PATIENCE)

/** Presses, confirms, gives the token if asked. */
async function act(selector: string): Promise<void> {
  await page.locator(selector).click()
  if (await page.locator('#token').isVisible()) await page.fill('#token', stack.token)
  await page.locator('#confirm').click()
  await page.locator('dialog .done').waitFor()
  await page.locator('dialog .close').click()
  await page.locator('dialog').waitFor({ state: 'detached' })
}

/** At one moment of the page: the frame that it shows, and what it has lit. */
const SHOWN = `(() => {
  const lit = (name) => [...document.querySelectorAll('#machine-' + name + ' [data-lit]')].map((one) => one.dataset.state)
  const lamps = Object.fromEntries([...document.querySelectorAll('#machine-lifecycle [data-lit]')].map((one) => [one.dataset.state, one.querySelector('.lamp').textContent]))
  const route = document.querySelector('.routes [aria-pressed="true"]')?.dataset.route
  return { seq: Number(document.documentElement.dataset.seq), route, breaker: lit('breaker'), limit: lit('limit'), lamps }
})()`
interface Shown {
  seq: number
  route: string
  breaker: string[]
  limit: string[]
  lamps: Record<string, string>
}

describe.skipIf(browser === null)('before a real house', () => {
  test("through a storm that the page starts, what is lit is the machines' own state", async () => {
    const feed = await watchFeed(stack.url)
    const states = new Set<string>()
    let compared = 0
    const compare = async (): Promise<void> => {
      const shown = (await page.evaluate(SHOWN)) as Shown
      const frame = feed.frames.get(shown.seq)
      if (frame === undefined) return
      const route = frame.routes.find(({ id }) => id === shown.route)!
      expect([shown.seq, shown.breaker, shown.limit]).toEqual([
        frame.seq,
        [route.breaker_machine.state],
        [route.limit_machine.state],
      ])
      for (const [state, count] of Object.entries(frame.lifecycle.states))
        expect([state, shown.lamps[state] ?? '● 0']).toEqual([
          state,
          `● ${count.toLocaleString('en')}`,
        ])
      states.add(route.breaker_machine.state)
      compared++
    }
    const compareUntil = (done: () => boolean) =>
      vi.waitFor(
        async () => {
          await compare()
          if (!done()) throw new Error(`only saw ${[...states].join(', ')}`)
        },
        { timeout: 60_000, interval: 40 },
      )
    // One route all the while: by itself, the page goes to whichever is in trouble.
    await page.locator('.routes button[data-route*="sonnet"]').click()
    await page.selectOption('#fault-for', '60000')
    await act('[data-fault="storm"]')
    await page.locator('#faults-said', { hasText: 'storm' }).waitFor()
    await compareUntil(() => states.has('open'))
    await act('[data-fault="off"]')
    // All round the chart, and home again.
    await compareUntil(() => states.has('ramp'))
    states.clear()
    await compareUntil(() => states.has('closed'))
    feed.close()
    expect(compared).toBeGreaterThan(10)
    // Its moves are told with their reasons.
    const moves = await page.locator('#machine-breaker .moves').innerText()
    expect(moves).toMatch(/closed → open: error rate/)
    expect(moves).toMatch(/ramp/)
  }, 120_000)

  test('a request of the storm shows its life, retries and all', async () => {
    await page.locator('#tenants-search').fill('tenant-1')
    await page.locator('#tenants tbody').getByRole('button', { name: 'tenant-1' }).click()
    const dialog = page.locator('dialog[data-tenant="tenant-1"]')
    await dialog.locator('tbody button').first().waitFor()
    const rows = dialog.locator('tbody button')
    const life = page.locator('dialog[data-life]')
    const attempt = life.locator('.life li[data-kind="attempt"]')
    // The oldest may have been refused before anything of it was sent.
    for (let from = (await rows.count()) - 1; from >= 0; from--) {
      await rows.nth(from).click()
      await life.locator('.life li').first().waitFor()
      if ((await attempt.count()) > 0) break
      await page.keyboard.press('Escape')
      await life.waitFor({ state: 'detached' })
    }
    await attempt.first().waitFor()
    expect(await life.locator('.facts').innerText()).toContain('tenant-1')
    await page.keyboard.press('Escape')
    await life.waitFor({ state: 'detached' })
    await page.keyboard.press('Escape')
    await page.locator('dialog').waitFor({ state: 'detached' })
  })

  test('the emergency block goes on and off, in the scheduler too', async () => {
    await act('#act-emergency')
    await untilSeen(({ emergency }) => emergency)
    await until(
      `document.querySelector('#findings').textContent.includes('The emergency block is on')`,
    )
    await act('#act-emergency')
    await untilSeen(({ emergency }) => !emergency)
    await until(`document.querySelector('#emergency-said').textContent === 'It is off.'`)
  })

  test('a paused lane starts nothing until it is resumed', async () => {
    const batch = (of: Snapshot) => of.lanes.find(({ name }) => name === 'batch')!
    await act('button[data-lane="batch"]')
    await untilSeen((of) => batch(of).paused && batch(of).inflight === 0 && batch(of).queued > 0)
    await until(`document.querySelector('#findings').textContent.includes('Lane batch is paused')`)
    await act('button[data-lane="batch"]')
    await untilSeen((of) => !batch(of).paused && batch(of).inflight > 0)
  })

  test('who used what, and what it costs, is drawn and listed', async () => {
    await page.locator('#usage').scrollIntoViewIfNeeded()
    await until(`document.querySelectorAll('#usage canvas').length === 4`)
    const listed = await page.locator('#usage tbody tr').allInnerTexts()
    for (const tenant of ['tenant-0', 'tenant-1', 'tenant-2'])
      for (const model of ['claude-sonnet-4-5', 'claude-opus-4-1'])
        expect(listed.some((row) => row.startsWith(`${tenant}\t${model}\t`))).toBe(true)
    expect(listed.every((row) => /\$0\.\d{4}$|\$\d+\.\d\d$/.test(row))).toBe(true)
    await until(
      `/^\\$[\\d.]+ in all, of the whole fleet$/.test(document.querySelector('#usage [role=status]').textContent)`,
    )
  })

  test('a quota drop is told, and that Headgate paces itself to what is left', async () => {
    await page.selectOption('#fault-model', 'claude-opus-4-1')
    await act('[data-fault="quota_drop"]')
    await until(
      `/Quota (nearly )?used up[^:]*: claude-opus-4-1/.test(document.querySelector('#findings').textContent)`,
    )
    await page.selectOption('#fault-model', '')
    await act('[data-fault="off"]')
    await page.locator('#faults-said', { hasText: 'No fault is set' }).waitFor()
  })

  test('a drain is told, and a restart is found again by itself', async () => {
    await act('#act-drain')
    await untilSeen(({ draining }) => draining)
    await until(`document.querySelector('#findings').textContent.includes('Headgate is draining')`)
    await stack.stop()
    await until(`document.querySelector('#line').dataset.line === 'lost'`)
    await load.close()
    stack = await startStack({ httpPort: stack.httpPort })
    load = await openTraffic(stack.natsUrl)
    await until(
      `document.querySelector('#line').textContent.includes('the scheduler restarted at')`,
    )
    await until(`!document.querySelector('#findings').textContent.includes('Headgate is draining')`)
    // A start that a crowded machine stalled is told, and rightly.
    await until(
      `document.querySelector('#state').dataset.level === 'good' || document.querySelector('#state-title').innerText.includes('event loop stall')`,
    )
  }, 180_000)
})
