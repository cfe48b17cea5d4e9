/** Takes the pictures of docs/screenshots, by hand: `node test/browser/screenshots.ts [scene…]`. A real stack
 *  under real load; what goes wrong, the page's own fault panel sets off. About five minutes. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Browser, Page } from 'playwright-core'
import { openChromium } from '../support/chromium.ts'
import { palettePng } from '../support/palette-png.ts'
import { startStack, type Stack } from '../support/stack.ts'
import { openTraffic, type Traffic } from '../support/traffic.ts'
import { inRoot } from '../support/tree.ts'

const OUT = inRoot('docs/screenshots')
const BYTES_MAX = 200_000
const WARM_MS = 25_000
/** Fifth parts of a second. */
const TRIES_MAX = 450
const MODELS = ['claude-sonnet-4-5', 'claude-opus-4-1', 'claude-haiku-4-5']
const LOOKS = (['light', 'dark'] as const).flatMap((colorScheme) => [
  { name: `${colorScheme}-wide`, colorScheme, viewport: { width: 1280, height: 1240 } },
  { name: `${colorScheme}-narrow`, colorScheme, viewport: { width: 390, height: 1400 } },
])

interface Stage {
  stack: Stack
  load: Traffic
  pages: { name: string; page: Page }[]
}

const scenes: Record<string, (stage: Stage) => Promise<void>> = {
  async calm(stage) {
    await sleep(20_000)
    await face(stage, 'lifecycle')
    await shoot(stage, 'calm')
    await section(stage, 'calm-control', '#control')
  },
  async storm(stage) {
    await face(stage, 'breaker')
    await fault(stage, 'storm')
    await until(stage, `document.querySelector('#state').dataset.level === 'bad'`)
    await sleep(14_000)
    await shoot(stage, 'storm')
    await section(stage, 'storm-control', '#control')
    await waterfall(stage)
  },
  async quota(stage) {
    await face(stage, 'limit')
    await fault(stage, 'quota_drop')
    await until(stage, `/Quota/.test(document.querySelector('#findings').textContent)`)
    await sleep(16_000)
    await shoot(stage, 'quota')
  },
  async flood(stage) {
    await face(stage, 'lifecycle')
    for (const [at, tenant] of ['night-report', 'reindex', 'evals'].entries())
      stage.load.add({ tenant, lane: 'batch', model: MODELS[at]!, perSecond: 10, maxTokens: 400 })
    // And a rush at the same time, for which batch has to yield.
    for (const [at, tenant] of ['chat', 'search', 'help'].entries())
      stage.load.add({
        tenant,
        lane: 'interactive',
        model: MODELS[at]!,
        perSecond: 9,
        stream: true,
      })
    await until(stage, `document.querySelector('#preemptions').children.length > 2`)
    await sleep(4_000)
    await shoot(stage, 'flood')
    await section(stage, 'flood-slots', '#slots')
  },
}

const browser = await openChromium({ say: true })
if (browser !== null) await take(browser, process.argv.slice(2))

async function take(on: Browser, wanted: readonly string[]): Promise<void> {
  mkdirSync(OUT, { recursive: true })
  for (const [name, scene] of Object.entries(scenes))
    if (wanted.length === 0 || wanted.includes(name)) await play(on, scene)
  await on.close()
}

/** Each scene on a stack of its own, so that none bears the marks of another. */
async function play(on: Browser, scene: (stage: Stage) => Promise<void>): Promise<void> {
  const stack = await startStack()
  const load = await openTraffic(stack.natsUrl)
  const lanes = ['premium', 'interactive', 'interactive', 'batch']
  for (let at = 0; at < 24; at++)
    load.add({
      tenant: `team-${String(at + 1).padStart(2, '0')}`,
      lane: lanes[at % 4]!,
      model: MODELS[at % 3]!,
      perSecond: 0.6,
      stream: at % 2 === 0,
    })
  const pages = await Promise.all(
    LOOKS.map(async ({ name, ...look }) => {
      const page = await (await on.newContext(look)).newPage()
      await page.goto(stack.url)
      return { name, page }
    }),
  )
  try {
    await sleep(WARM_MS)
    await scene({ stack, load, pages })
  } finally {
    await load.close()
    for (const { page } of pages) await page.context().close()
    await stack.stop()
  }
}

async function shoot({ pages }: Stage, scene: string): Promise<void> {
  const taken = await Promise.all(
    pages.map(async ({ name, page }) => {
      await page.evaluate('scrollTo(0, 0)')
      return { name, png: await page.screenshot() }
    }),
  )
  for (const { name, png } of taken) keep(`${scene}-${name}`, png)
}

/** One section of the page, wide, in light and dark. */
async function section({ pages }: Stage, name: string, selector: string): Promise<void> {
  for (const { name: look, page } of pages) {
    if (!look.endsWith('wide')) continue
    const size = page.viewportSize()!
    // All of it at once, or the page's head would stand over it.
    await page.setViewportSize({ ...size, height: 1_800 })
    await page.locator(selector).scrollIntoViewIfNeeded()
    await page.locator(`${selector} canvas, ${selector} svg`).first().waitFor()
    // A frame later all of it is drawn.
    await sleep(1_500)
    keep(`${name}-${look}`, await page.locator(selector).screenshot())
    await page.setViewportSize(size)
  }
}

/** The life of a request that was tried more than once. */
async function waterfall({ stack, pages }: Stage): Promise<void> {
  const answer = await fetch(`${stack.url}/api/requests?limit=200`)
  const { rows } = (await answer.json()) as {
    rows: { tenant: string; id: string; attempts: number }[]
  }
  const [tried] = rows.toSorted((a, b) => b.attempts - a.attempts)
  const page = pages.find(({ name }) => name === 'light-wide')?.page
  if (tried === undefined || page === undefined) return
  await page.locator('#tenants-search').fill(tried.tenant)
  await page.locator('#tenants tbody').getByRole('button', { name: tried.tenant }).click()
  await page.locator(`dialog[data-tenant]`).getByRole('button', { name: tried.id }).first().click()
  const life = page.locator('dialog[data-life]')
  await life.locator('.life li').nth(2).waitFor()
  keep('waterfall', await life.screenshot())
  await page.keyboard.press('Escape')
  await page.keyboard.press('Escape')
}

function keep(name: string, png: Buffer): void {
  const small = palettePng(png)
  const note = small.length > BYTES_MAX ? '  TOO LARGE' : ''
  process.stdout.write(`${name}.png  ${(small.length / 1_000).toFixed(0)} KB${note}\n`)
  writeFileSync(join(OUT, `${name}.png`), small)
}

async function face({ pages }: Stage, name: string): Promise<void> {
  for (const { page } of pages) await page.locator(`[data-face="${name}"]`).click()
}

/** By the panel of the first page, as an operator would. */
async function fault({ stack, pages }: Stage, kind: string): Promise<void> {
  const page = pages[0]!.page
  await page.locator(`[data-fault="${kind}"]`).click()
  if (await page.locator('#token').isVisible()) await page.fill('#token', stack.token)
  await page.locator('#confirm').click()
  await page.locator('dialog .done').waitFor()
  await page.locator('dialog .close').click()
}

async function until({ pages }: Stage, expression: string): Promise<void> {
  const page = pages[0]!.page
  for (let tries = 0; !(await page.evaluate(expression)); tries++) {
    if (tries === TRIES_MAX)
      throw new Error(`never: ${expression}; ${await page.locator('#state').innerText()}`)
    await sleep(200)
  }
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
