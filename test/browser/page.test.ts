/** The page before a scheduler that is a script: every picture, every act, and what the world may do to it. */
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import type { Browser, Page } from 'playwright-core'
import { afterAll, afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { charts } from '#contracts/generated/charts'
import type { Frame } from '#contracts/dashboard'
import { openChromium } from '../support/chromium.ts'
import {
  countsOf,
  fakeDashboard,
  frameOf,
  helloOf,
  HOSTILE,
  routeOf,
  TOKEN,
  type FakeDashboard,
} from '../support/fake-dashboard.ts'
import { stillFleet, stillJobs, stillMember } from '../support/fed.ts'

const browser: Browser | null = await openChromium({ say: true })
afterAll(() => browser?.close())

let server: FakeDashboard
let page: Page
let wrong: string[] = []

beforeEach(async () => {
  if (browser === null) return
  server = await fakeDashboard()
  wrong = []
})
afterEach(async () => {
  if (browser === null) return
  await Promise.all(browser.contexts().map((one) => one.close()))
  await server.close()
  // Neither a refusal of the content policy nor an exception of ours.
  expect(wrong).toEqual([])
})

/** Each test of a group has the page open. */
const onItsPage = () =>
  beforeEach(async () => {
    page = await open()
  })

async function open(of: Parameters<Browser['newContext']>[0] = {}, path = '/'): Promise<Page> {
  const context = await browser!.newContext({ viewport: { width: 1280, height: 900 }, ...of })
  context.setDefaultTimeout(30_000)
  const made = await context.newPage()
  made.on('pageerror', (error) => wrong.push(error.message))
  made.on('console', (message) => {
    if (message.type() === 'error' && !/Failed to load resource|ERR_/.test(message.text()))
      wrong.push(message.text())
  })
  await made.goto(server.url + path)
  return made
}

/** Sends until the page shows it: a page that has just come may have missed the first. */
async function show(of: Partial<Frame> = {}, on = page): Promise<Frame> {
  const frame = frameOf(of)
  await until('document.querySelector("#line").dataset.line !== "lost"', on)
  server.send(frame)
  await on.locator('#totals b').first().waitFor()
  return frame
}
const text = (selector: string, on = page): Promise<string> =>
  on.locator(selector).first().innerText()
/** Asked again and again from outside: the page's policy lets nothing evaluate a text inside. */
const until = (expression: string, on = page) =>
  vi.waitFor(
    async () => {
      if (!(await on.evaluate(expression))) throw new Error(`never: ${expression}`)
    },
    { timeout: 30_000, interval: 25 },
  )
const says = (selector: string, words: string, on = page) =>
  until(
    `document.querySelector(${JSON.stringify(selector)})?.textContent.includes(${JSON.stringify(words)})`,
    on,
  )

describe.skipIf(browser === null)('the status and the three questions', () => {
  onItsPage()
  test('a calm house is called calm', async () => {
    await show()
    await says('#state-title', 'All is well: 18 of 60 slots in use')
    expect(await page.getAttribute('#state', 'data-level')).toBe('good')
    await says('#question-1 .answer', 'No 429')
    await says('#question-2 .answer', 'No:')
    await says('#question-3 .answer', 'Yes: 1.02 attempts per request')
    await says('#question-1 .broke', 'Not broken since the start')
  })

  test('a storm is told in words: what, since when, for whom, and what is done', async () => {
    const at = frameOf().at
    const open = routeOf('claude-opus-4-1', {
      queued: 40,
      breaker_cap: 0,
      breaker_machine: { state: 'open', since: at - 9_000, counts: countsOf('breaker') },
    })
    await show({ routes: [routeOf('claude-sonnet-4-5'), open] })
    await says('#state-title', 'breaker open: claude-opus-4-1')
    expect(await page.getAttribute('#state', 'data-level')).toBe('bad')
    expect(await text('.finding')).toMatch(
      /since[\s\S]*s\)[\s\S]*40 waiting[\s\S]*starting nothing there/,
    )
    await until(`document.title === '✖ Headgate'`)
  })

  test('429s of one tenant, and a guardrail that broke, are named with their time', async () => {
    const at = frameOf().at
    await show({
      concentration_429: {
        count: 50,
        routes: [
          { name: 'anthropic-claude-opus-4-1', part: 0.9, of_calls: 0.3, concentrated: true },
          { name: 'anthropic-claude-sonnet-4-5', part: 0.1, of_calls: 0.7, concentrated: false },
        ],
        tenants: [
          { name: HOSTILE, part: 0.8, of_calls: 0.3, concentrated: true },
          { name: 'acme', part: 0.2, of_calls: 0.7, concentrated: false },
        ],
      },
      guardrails: frameOf().guardrails.map((one) =>
        one.name === 'ratio_429' ? { ...one, value: 0.09, met: false, since: at - 60_000 } : one,
      ),
      breaches: [
        {
          name: 'ratio_429',
          value: 0.09,
          bound: 0.02,
          from_at: at - 60_000,
          until_at: null,
          route: 'anthropic-claude-opus-4-1',
          tenant: 'acme',
        },
      ],
    })
    await says('#question-1 .answer', 'Yes, in both: claude-opus-4-1 has 90 %')
    await says('#question-1 .verdict', 'broken for')
    await says('#question-1 .broke', 'mostly claude-opus-4-1, tenant acme')
    expect(await page.getAttribute('#question-1 .dial', 'data-met')).toBe('false')
    expect(await page.getAttribute('#question-1 .dial', 'aria-label')).toBe(
      'ratio 429: 9 %, budget 2 %, broken',
    )
  })
})

describe.skipIf(browser === null)('a fleet', () => {
  onItsPage()
  const two = { member: 'two', share: 20, want: 5, inflight: 3, heard_ms: 4_000 } as const
  const fleet = stillFleet({
    ...{ whole: 60, usable: 30 },
    members: [
      stillMember({ own: true, share: 30 }),
      stillMember({ ...two, config_differs: true }),
      stillMember({ ...two, member: 'three', standing: 'silent', share: 10, heard_ms: 21_000 }),
    ],
  })

  test('marks whose configuration differs and who is unheard, at any width', async () => {
    await show({ fleet })
    await says('#fleet-body', '60 of 60 slots are held by 3')
    for (const width of [1_280, 390]) {
      await page.setViewportSize({ width, height: 800 })
      const rows = await page.locator('#fleet-body tbody tr').allInnerTexts()
      expect(rows[0]).toMatch(/^one \(this one\)/)
      expect(rows[1]).toMatch(/^two.*4 s ago.*▲ differs/s)
      expect(rows[2]).toMatch(/^three.*▲ unheard for 21 s.*same/s)
    }
  })

  test('whose lease has run out says what it may use, on top and where it stands', async () => {
    const { at } = frameOf()
    await show({
      fleet: { ...fleet, lapsed: true, usable: 3, trouble: 'no answer' },
      conditions: [{ condition: 'fleet_lapsed', about: null, since: at - 30_000 }],
    })
    await says('#fleet-body', 'This instance has no lease: it may use 3.')
    await says('#state-title', 'The lease of this instance has run out: no answer')
    expect(await page.getAttribute('#state', 'data-level')).toBe('bad')
  })
})

describe.skipIf(browser === null)('durable jobs', () => {
  onItsPage()
  const HOUR = 3_600_000
  const held = stillJobs({
    stored: 1_240,
    oldest_ms: 7 * HOUR,
    states: { delayed: 10, stored: 1_216, waiting: 4, calling: 7, settling: 0, elsewhere: 3 },
    lanes: [
      { lane: 'premium', stored: 6, oldest_ms: 2_000, expected_ms: HOUR },
      { lane: 'batch', stored: 1_234, oldest_ms: 7 * HOUR, expected_ms: 6 * HOUR },
    ],
    tenants: [
      { tenant: HOSTILE, lane: 'batch', stored: 900, taken: 4, oldest_ms: 7 * HOUR },
      { tenant: 'acme', lane: 'premium', stored: 2, taken: 4, oldest_ms: 2_000 },
    ],
    counts: { ...stillJobs().counts, taken_over: 3, ambiguous: 1 },
    dead: { kept: 5, last_at: 0 },
  })

  test('are said not to be kept where they are not', async () => {
    await show()
    await says('#jobs-body', 'No durable jobs are kept')
    expect(await page.locator('#jobs-body .facts').isVisible()).toBe(false)
  })

  test('stand by lane and tenant with their age, and what went wrong with some is marked', async () => {
    await show({ jobs: held })
    await says('#jobs-body .facts', '1,240')
    const facts = await text('#jobs-body .facts')
    expect(facts).toMatch(/taken over\s+▲ 3/)
    expect(facts).toMatch(/may have run twice\s+▲ 1/)
    expect(facts).toMatch(/dead letters\s+▲ 5/)
    const [lanes, tenants] = await page.locator('#jobs-body .bars').allInnerTexts()
    expect(lanes).toMatch(/batch\s+1,234, oldest 7 h ▲ over 6 h/)
    expect(lanes).toMatch(/premium\s+6, oldest 2 s(?! ▲)/)
    expect(tenants).toContain(`${HOSTILE}, batch`)
    expect(tenants).toMatch(/904, next 7 h/)
    expect(await page.locator('#jobs-body .bars li').nth(1).getAttribute('data-tone')).toBe('warn')
    expect(await page.evaluate('window.hacked')).toBe(undefined)
  })

  test('a store that does not answer is told where it stands, and as what is wrong', async () => {
    const { at } = frameOf()
    await show({
      jobs: { ...held, store: { ...held.store, reachable: false } },
      conditions: [{ condition: 'jobs_store_lost', about: null, since: at - 30_000 }],
    })
    await says('#jobs-body .facts', '▲ does not answer')
    await says('#state-title', 'The store of durable jobs does not answer')
    expect(await page.getAttribute('#state', 'data-level')).toBe('bad')
  })

  test('are drawn over time by lane and by tenant, from the history and on with each frame', async () => {
    await show({ jobs: held })
    await page.locator('#jobs').scrollIntoViewIfNeeded()
    await page.locator('#jobs-body .plot canvas').nth(1).waitFor()
    const legends = () => page.locator('#jobs-body .plot').allInnerTexts()
    await vi.waitFor(async () => {
      const [byLane, byTenant] = await legends()
      expect(byLane).toMatch(/batch\s+1,234/)
      expect(byTenant).toMatch(/acme\s+6/)
    })
    const lanes = held.lanes.map((one) => ({ ...one, stored: one.stored - 4 }))
    await show({ jobs: { ...held, lanes } })
    await vi.waitFor(async () => expect((await legends())[0]).toMatch(/batch\s+1,230/))
  })

  test('one that changed hands is listed, and shows its life over its owners', async () => {
    const { at } = frameOf()
    const job = { at, tenant: 'acme', lane: 'batch', id: 'j_7' }
    await show({
      jobs: held,
      job_moves: [
        { seq: 1, ...job, id: 'j_1', what: 'dead', detail: 'claims_exhausted', ambiguous: false },
        { seq: 2, ...job, what: 'taken_over', detail: 'gone', ambiguous: true },
      ],
    })
    await says('#jobs-body tbody', '▲ taken over from gone, may run twice')
    await says('#jobs-body tbody', '✖ given up: claims exhausted')
    await page.getByRole('button', { name: 'j_7', exact: true }).click()
    const life = page.locator('dialog[data-job="j_7"]')
    await life.locator('.job-life li').nth(4).waitFor()
    const steps = await life.locator('.job-life li').allInnerTexts()
    expect(steps.map((step) => step.split(/\s*\n\s*/))).toEqual([
      ['+0 ms', 'accepted and stored'],
      [
        '+60 s',
        '▲ gone took it and died, 1 call begun so far; a call was under way and may have run',
      ],
      ['+2 min', `${HOSTILE} took it and put it back, 1 call begun so far`],
      ['+3 min', 'fake (this instance) took it and ended it, 2 calls begun so far'],
      ['+4 min', 'ended after 4 min: completed'],
    ])
    expect(await life.innerText()).toMatch(/may have run twice\s+yes/)
  })

  test('one is found by its tenant and id', async () => {
    await show({ jobs: held })
    await page.fill('#job-tenant', 'acme')
    await page.fill('#job-id', 'j_9')
    await page.locator('#job-open').click()
    await page.locator('dialog[data-job="j_9"] .job-life li').nth(4).waitFor()
  })
})

describe.skipIf(browser === null)('the machines', () => {
  onItsPage()
  test.each(
    charts
      .filter(({ name }) => name !== 'lifecycle')
      .flatMap(({ name, states }) => states.map((state) => [name, state.name] as const)),
  )('of the chart %s, %s is lit and nothing else when a route is there', async (name, state) => {
    await page.locator(`[data-face="${name}"]`).click()
    const at = frameOf().at
    const [edge] = charts.find((one) => one.name === name)!.edges
    const machine = { state, since: at - 5_000, counts: countsOf(name, { [edge!.id]: 7 }) }
    await show({ routes: [routeOf('claude-sonnet-4-5', { [`${name}_machine`]: machine })] })
    const lit = `[...document.querySelectorAll('#machine-${name} [data-lit]')].map((one) => one.dataset.state).join()`
    await until(`${lit} === ${JSON.stringify(state)}`)
    await says(`#machine-${name} .state-said`, `${state} for`)
    await says(`#machine-${name} [data-edge="${edge!.id}"] text`, '7')
  })

  test('last moves stand with their reasons', async () => {
    const { at } = frameOf()
    await show({
      transitions: [
        {
          seq: 1,
          at,
          machine: 'breaker',
          route: 'anthropic-claude-sonnet-4-5',
          from: 'closed',
          to: 'open',
          reason: 'error_rate',
        },
      ],
    })
    await says('#machine-breaker .moves', 'closed → open: error rate')
  })

  test('a state of the life lists its requests, and a request shows its life as a waterfall', async () => {
    await page.locator('[data-face="lifecycle"]').click()
    const flow = countsOf('lifecycle', { 'request.queued:0:0': 12 })
    await show({ lifecycle: { ...frameOf().lifecycle, counts: flow, flow } })
    await says('#machine-lifecycle [data-state="running"] .lamp', '11')
    await says('#machine-lifecycle [data-edge="request.queued:0:0"] text', '12 · 12/s')
    await page.locator('#machine-lifecycle [data-state="running"]').click()
    await page.locator('dialog tbody tr').nth(1).waitFor()
    await page.getByRole('button', { name: 'r_1', exact: true }).click()
    const life = page.locator('dialog[data-life="r_1"]')
    await life.locator('.life li').nth(9).waitFor()
    const kinds = await life
      .locator('.life li')
      .evaluateAll((all) => all.map((one) => one.getAttribute('data-kind')))
    expect(kinds).toEqual([
      'queued',
      'attempt',
      'backoff',
      'queued',
      'attempt',
      'preempted',
      'queued',
      'attempt',
      'streaming',
      'settled',
    ])
    expect(await life.innerText()).toMatch(/overloaded, HTTP 529, upstream overloaded/)
    const xs = await life
      .locator('.lapse')
      .evaluateAll((all) => all.map((one) => Number(one.getAttribute('x'))))
    expect(xs).toEqual(xs.toSorted((a, b) => a - b))
    await page.keyboard.press('Escape')
    await life.waitFor({ state: 'detached' })
    // The list is still there, and has the focus back.
    expect(await page.evaluate('document.activeElement.textContent')).toBe('r_1')
  })

  test('fifty routes have their places, the troubled first', async () => {
    const many = Array.from({ length: 49 }, (_, at) => routeOf(`claude-${at}`))
    const bad = routeOf('claude-bad', { breaker_machine: { state: 'open', since: 0, counts: [] } })
    await show({ routes: [...many, bad] })
    await until(`document.querySelectorAll('.routes button').length === 50`)
    expect(await text('.routes button')).toMatch(/claude-bad\s+breaker open/)
    await page.locator('[data-route="anthropic-claude-30"]').click()
    await until(`document.querySelector('#control-route').value === 'anthropic-claude-30'`)
  })
})

describe.skipIf(browser === null)('slots and plots', () => {
  onItsPage()
  test('the pool has a square for each slot, and says whose', async () => {
    await show()
    const count = (lane: string, what: string) =>
      page.locator(`figure[data-lane="${lane}"] .slot${what}`).count()
    await until(`document.querySelectorAll('figure[data-lane] .slot').length === 60`)
    expect(await count('premium', '[data-held="own"]')).toBe(6)
    expect(await count('premium', '[data-kept]')).toBe(14)
    expect(await count('interactive', '[data-held="borrowed"]')).toBe(9)
    expect(await count('', '')).toBe(28)
    await says('#pool-said', '18 slots of 60 in use, 12 of them beyond a guarantee; 28 free')
    const { at } = frameOf()
    await show({
      preemptions: [
        { seq: 1, at, tenant: 'acme', lane: 'batch', id: 'r_9', route: 'x', wasted_ms: 800 },
      ],
    })
    await says('#preemptions', 'acme/r_9 yielded, 800 ms of work lost')
  })

  test('plots are drawn, zoom together, and say what lies under the cursor', async () => {
    await show()
    await page.locator('#control').scrollIntoViewIfNeeded()
    await until(`document.querySelectorAll('.plot canvas').length === 7`)
    const plot = page.locator('.plot canvas').first()
    const box = (await plot.boundingBox())!
    await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2)
    await says('.plot .legend', 'at ')
    await page.getByRole('button', { name: 'Zoom in' }).click()
    await page.getByRole('button', { name: 'All', exact: true }).click()
    await page.locator('[data-span="day"]').click()
    expect(await page.getAttribute('[data-span="day"]', 'aria-pressed')).toBe('true')
  })
})

describe.skipIf(browser === null)('tenants', () => {
  onItsPage()
  test('ten thousand are searched, sorted and turned by the server', async () => {
    await show()
    await says('#tenants-said', '1 to 50 of 10 k')
    await page.fill('#tenants-search', 'tenant-0123')
    await says('#tenants-said', '1 to 10 of 10 that fit')
    await page.fill('#tenants-search', '')
    await page.locator('[data-sort="tokens"]').click()
    await says('#tenants tbody tr', 'tenant-09999')
    expect(await page.locator('th[aria-sort="descending"]').innerText()).toBe('tokens ▼')
    await page.locator('[data-sort="tokens"]').click()
    await says('#tenants tbody tr', 'tenant-00000')
    await page.getByRole('button', { name: 'Next →' }).click()
    await says('#tenants-said', '51 to 100')
    await page.getByRole('button', { name: 'tenant-00060' }).click()
    await says('dialog[data-tenant="tenant-00060"]', 'queue full')
    await page.getByRole('button', { name: 'r_live' }).click()
    await page.locator('dialog[data-life="r_live"] .life li').first().waitFor()
  })
})

describe.skipIf(browser === null)('hostile words', () => {
  onItsPage()
  test('stay words, wherever they stand', async () => {
    const { at } = frameOf()
    await show({
      routes: [routeOf(HOSTILE, { breaker_machine: { state: 'open', since: at, counts: [] } })],
      lanes: frameOf().lanes.map((lane) => ({ ...lane, name: `${HOSTILE}${lane.name}` })),
      alarms: [{ seq: 1, at, name: HOSTILE, route: null, detail: HOSTILE }],
      transitions: [
        {
          seq: 1,
          at,
          machine: 'breaker',
          route: `anthropic-${HOSTILE}`,
          from: HOSTILE,
          to: HOSTILE,
          reason: HOSTILE,
        },
      ],
      preemptions: [
        { seq: 1, at, tenant: HOSTILE, lane: HOSTILE, id: HOSTILE, route: HOSTILE, wasted_ms: 1 },
      ],
      faults: [{ kind: HOSTILE, model: HOSTILE, until_at: at }],
      fleet: {
        ...{ member: HOSTILE, whole: 60, lapses: 1, trouble: HOSTILE, at },
        ...{ lapsed: true, usable: 3, name_taken: HOSTILE },
        members: [
          {
            ...{ member: HOSTILE, instance: HOSTILE, version: HOSTILE, standing: 'alive' as const },
            ...{ own: false, share: 1, want: 1, inflight: 1, heard_ms: 1, config_differs: true },
          },
        ],
      },
    })
    await page.fill('#tenants-search', 'onerror')
    await says('#tenants tbody tr', '<img src=x')
    await page.locator('#tenants tbody button').click()
    await says('dialog h2', 'Tenant <img')
    await page.keyboard.press('Escape')
    await page.locator('[data-face="lifecycle"]').click()
    await page.locator('#machine-lifecycle [data-state="running"]').click()
    await page.locator('dialog tbody tr').nth(1).locator('button').click()
    await says('dialog[data-life]:last-of-type .life', '<img')
    expect(
      await page.evaluate(
        '[window.hacked, document.querySelectorAll("main img, dialog img, body script").length]',
      ),
    ).toEqual([null, 0].map((one) => one ?? undefined))
  })

  test('a drawing that holds more than shapes is not shown', async () => {
    const svg = charts.find(({ name }) => name === 'breaker')!.svg
    for (const bad of [
      svg.replace('</svg>', '<script>window.hacked=1</script></svg>'),
      svg.replace('<rect', '<rect onclick="window.hacked=1"'),
      svg.replace('</svg>', '<foreignObject/></svg>'),
      svg.replace('</svg>', '<use href="https://example.org/x.svg#y"/></svg>'),
      'not even xml',
    ]) {
      server.cut({ gone: true })
      server.back({
        charts: helloOf().charts.map((one) =>
          one.name === 'breaker' ? { ...one, svg: bad } : one,
        ),
      })
      await page.reload()
      await show()
      await says('#machine-breaker', 'cannot be shown')
      expect(await page.evaluate('window.hacked')).toBeUndefined()
    }
    // The policy has refused it as well, and said so.
    wrong = wrong.filter((one) => !one.includes('Content Security Policy'))
  })
})

describe.skipIf(browser === null)('a line that breaks', () => {
  onItsPage()
  test('is told, and a restarted scheduler is found again without a hand', async () => {
    await show()
    await says('#line', 'live')
    server.cut({ gone: true })
    await until('document.querySelector("#line").dataset.line === "lost"')
    await says('#line', 'trying again by itself')
    await says('#state-title', 'No word from the scheduler')
    const { at } = frameOf()
    server.back({ started_at: at })
    await until('document.querySelector("#line").dataset.line === "live"')
    server.send(frameOf({ global: { limit: 60, inflight: 1, queued: 0, backoff: 0, level: 0 } }))
    await says('#line', 'the scheduler restarted at')
    await says('#state-title', '1 of 60 slots')
  })

  test('a feed faster than the browser ends at its last frame, and the page stays awake', async () => {
    await show()
    await page.evaluate(
      'window.frames_drawn = 0; new MutationObserver(() => window.frames_drawn++).observe(document.querySelector("#pool-said"), { childList: true, characterData: true, subtree: true })',
    )
    for (let at = 1; at <= 3_000; at++)
      server.send(
        frameOf({ global: { limit: 60, inflight: at % 50, queued: 0, backoff: 0, level: 0 } }),
      )
    server.send(frameOf({ global: { limit: 60, inflight: 59, queued: 0, backoff: 0, level: 0 } }))
    await says('#pool-said', '59 slots of 60')
    expect(await page.evaluate('window.frames_drawn')).toBeLessThan(1_500)
  })
})

describe.skipIf(browser === null)('acts', () => {
  onItsPage()
  const confirm = async (token: string | null): Promise<void> => {
    if (token !== null) await page.fill('#token', token)
    await page.locator('#confirm').click()
  }

  test('a wrong token does nothing, a right one is asked for once and stays in the tab', async () => {
    await show()
    await page.locator('#act-emergency').click()
    expect(await text('dialog')).toContain('8 s deadlines')
    await confirm('wrong')
    await says('dialog .problem', 'expected Authorization: Bearer and the admin token')
    expect(server.acts).toEqual([])
    await confirm(TOKEN)
    await says('dialog .done', 'Done')
    await page.keyboard.press('Escape')
    await page.locator('[data-lane="batch"]').getByText('Pause').click()
    expect(await page.locator('#token').isVisible()).toBe(false)
    await confirm(null)
    await says('dialog .done', 'Done')
    expect(server.acts).toEqual([
      { op: 'emergency', body: { on: true } },
      { op: 'lane', body: { lane: 'batch', paused: true } },
    ])
    expect(
      await page.evaluate(
        '[sessionStorage.length, JSON.stringify(localStorage).includes("let-me-in"), document.cookie]',
      ),
    ).toEqual([1, false, ''])
    await page.keyboard.press('Escape')
    await page.locator('#token-forget').click()
    expect(await page.evaluate('sessionStorage.length')).toBe(0)
  })

  test('nothing happens before the confirmation, nor after a cancel', async () => {
    await show()
    await page.locator('#act-drain').click()
    await page.locator('dialog .close').click()
    await page.locator('dialog').waitFor({ state: 'detached' })
    expect(server.acts).toEqual([])
    expect(await page.evaluate('document.activeElement.id')).toBe('act-drain')
  })

  test.each([
    ['storm', { kind: 'storm', for_ms: 15_000, model: 'claude-opus-4-1' }],
    ['quota_drop', { kind: 'quota_drop', for_ms: 15_000, model: 'claude-opus-4-1' }],
    ['hang', { kind: 'hang', for_ms: 15_000, model: 'claude-opus-4-1' }],
    ['off', { kind: 'off' }],
  ])('the fault panel asks the scheduler for %s', async (kind, body) => {
    await show()
    await page.selectOption('#fault-for', '15000')
    await page.selectOption('#fault-model', 'claude-opus-4-1')
    await page.locator(`[data-fault="${kind}"]`).click()
    // What was chosen is said again before it happens, and after.
    const chosen = kind === 'off' ? '' : '15 s, claude-opus-4-1'
    expect(await text('dialog h2')).toContain(chosen)
    await confirm(TOKEN)
    await says('dialog .done', 'Done')
    expect(await text('dialog .done')).toContain(chosen)
    expect(server.acts).toEqual([{ op: 'fault', body }])
  })

  test('the drain names this instance, and a real upstream has no fault panel', async () => {
    await show()
    await page.locator('#act-drain').click()
    await confirm(TOKEN)
    await says('dialog .done', 'Done')
    expect(server.acts).toEqual([{ op: 'drain', body: { instance: 'fake' } }])
    server.back({ simulated: false, admin: 'off' })
    await page.reload()
    await show()
    await says('#acts .problem', 'HEADGATE_ADMIN_TOKEN')
    expect(await page.locator('[data-fault]').count()).toBe(0)
    expect(await page.locator('#acts button:enabled').count()).toBe(0)
  })
})

describe.skipIf(browser === null)('a recording', () => {
  onItsPage()
  const ndjson = (): string => {
    const frames = Array.from({ length: 120 }, (_, at) =>
      frameOf({ global: { limit: 60, inflight: at % 60, queued: at, backoff: 0, level: 0 } }),
    )
    return [{ hello: helloOf() }, ...frames.map((frame) => ({ frame }))]
      .map((one) => JSON.stringify(one))
      .join('\n')
  }

  test('plays in the same page, with a slider, and leads back to live', async () => {
    await show()
    await page.setInputFiles('#record-file', {
      name: 'storm.ndjson',
      mimeType: 'application/x-ndjson',
      buffer: Buffer.from(ndjson()),
    })
    await says('#line', 'a recording, not live')
    await page.locator('#player-time').focus()
    await page.keyboard.press('End')
    await says('#totals', '119 waiting')
    await page.keyboard.press('Home')
    await says('#totals', '0 waiting')
    await page.locator('#player-play').click()
    await until(
      `!document.querySelector('#totals').textContent.includes(' 0 waiting') && Number(document.querySelector('#player-time').value) > 1000`,
    )
    await says('#acts', 'cannot be acted on')
    await says('#machine-lifecycle', 'counts, not single requests')
    await page.locator('#player-leave').click()
    await says('#line', 'live')
    await show()
    await says('#acts', 'Emergency block')
  })

  test('what headgate record wrote plays too, and says what is not in it', async () => {
    await show()
    const row = {
      ...{ tenant: 'acme', lane: 'batch', model: 'm', stream: false, max_tokens: 9 },
      ...{ deadline_ms: null, input_tokens: 1, output_tokens: 2, queue_ms: 2_000 },
      ...{ upstream_ms: 3_000, total_ms: 5_000, outcome: 'completed', code: null, attempts: 1 },
    }
    const rows = Array.from({ length: 20 }, (_, at) => ({ at_ms: at * 1_000, ...row }))
    const lines = [{ headgate: 'recording', version: 1 }, ...rows]
    await page.setInputFiles('#record-file', {
      name: 'monday.ndjson',
      mimeType: 'application/x-ndjson',
      buffer: Buffer.from(lines.map((line) => JSON.stringify(line)).join('\n')),
    })
    await says('#line', 'limits, breakers and quotas are not in it')
    await page.locator('#player-time').fill('10000')
    await says('#state-title', '3 in flight, 2 wait their turn, 1 answered')
    await page.locator('#player-leave').click()
    await says('#line', 'live')
  })

  test('names that hold an underscore stay readable where they are links', async () => {
    await show()
    await until(`document.querySelector('a') !== null`)
    for (const selector of ['a', 'button.link'])
      expect(
        await page.evaluate(
          `getComputedStyle(document.querySelector('${selector}')).textUnderlinePosition`,
        ),
      ).toBe('under')
  })

  test('a file that is none says why, and the page stays live', async () => {
    await show()
    for (const [buffer, words] of [
      ['{"a":1}\n', 'line 1 is neither a hello nor a frame'],
      ['nonsense', 'line 1 is no JSON'],
      ['', 'no hello'],
    ] as const) {
      await page.setInputFiles('#record-file', {
        name: 'x.ndjson',
        mimeType: 'text/plain',
        buffer: Buffer.from(buffer),
      })
      await says('#line', words)
    }
    expect(await page.locator('#player').isVisible()).toBe(false)
  })
})

describe.skipIf(browser === null)('everybody', () => {
  const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
  const violations = async (on: Page): Promise<string[]> => {
    await on.evaluate(AXE)
    const found = (await on.evaluate('axe.run()')) as {
      violations: { id: string; nodes: { html: string }[] }[]
    }
    return found.violations.flatMap(({ id, nodes }) =>
      nodes.map(({ html }) => `${id}: ${html.slice(0, 200)}`),
    )
  }
  const storm = (): Partial<Frame> => {
    const { at } = frameOf()
    return {
      routes: [
        routeOf('claude-sonnet-4-5'),
        routeOf('claude-opus-4-1', {
          paused_ms: 900,
          breaker_machine: { state: 'open', since: at, counts: [] },
        }),
      ],
      guardrails: frameOf().guardrails.map((one) => ({ ...one, met: false, value: one.bound * 2 })),
      faults: [{ kind: 'storm', model: null, until_at: at + 9_000 }],
      preemptions: [
        { seq: 1, at, tenant: 'acme', lane: 'batch', id: 'r_9', route: 'x', wasted_ms: 800 },
      ],
    }
  }

  test.each([
    ['light', 1280],
    ['dark', 1280],
    ['light', 390],
    ['dark', 390],
  ] as const)(
    'finds no barrier (axe), %s at %i px, in a storm and in a dialog',
    async (colorScheme, width) => {
      const own = await open({ colorScheme, viewport: { width, height: 900 } })
      await show(storm(), own)
      await own.locator('[data-face="all"]').click()
      await own.locator('#control').scrollIntoViewIfNeeded()
      await until(`document.querySelectorAll('.plot canvas').length === 7`, own)
      expect(await violations(own)).toEqual([])
      await own.locator('#machine-lifecycle [data-state="running"]').click()
      await own.locator('dialog tbody tr button').first().click()
      await own.locator('dialog .life li').first().waitFor()
      expect(await violations(own)).toEqual([])
      await own.context().close()
    },
  )

  test.each([390, 720, 1280])('has no sideways scroll at %i px', async (width) => {
    const own = await open({ viewport: { width, height: 800 } })
    const many = Array.from({ length: 49 }, (_, at) =>
      routeOf(`claude-with-a-rather-long-name-${at}`),
    )
    await show({ ...storm(), routes: [...many, ...(storm().routes ?? [])] }, own)
    await own.locator('#acts').scrollIntoViewIfNeeded()
    expect(await own.evaluate('document.documentElement.scrollWidth <= innerWidth')).toBe(true)
    await own.context().close()
  })

  test('follows the system into the dark, and a switch out of it that lasts', async () => {
    const own = await open({ colorScheme: 'dark' })
    const ground = () => own.evaluate('getComputedStyle(document.body).backgroundColor')
    expect(await ground()).toBe('rgb(18, 23, 29)')
    await own.locator('#theme').click()
    expect(await ground()).toBe('rgb(255, 255, 255)')
    await own.reload()
    expect(await ground()).toBe('rgb(255, 255, 255)')
    expect(await text('#theme', own)).toBe('Theme: light')
    await own.context().close()
  })

  test('needs no mouse: from the first key to a waterfall and back', async () => {
    page = await open()
    await show()
    await page.keyboard.press('Tab')
    expect(await page.evaluate('document.activeElement.className')).toBe('skip')
    const reach = async (expression: string): Promise<void> => {
      for (let at = 0; at < 80; at++) {
        if (await page.evaluate(`!!(${expression})`)) return
        await page.keyboard.press('Tab')
      }
      throw new Error(`never reached ${expression}`)
    }
    await reach('document.activeElement.dataset?.face === "lifecycle"')
    await page.keyboard.press('Enter')
    await reach('document.activeElement.dataset?.state === "running"')
    // Something visible tells where we are.
    expect(
      await page.evaluate(
        'getComputedStyle(document.activeElement.querySelector("rect")).strokeWidth',
      ),
    ).toBe('4px')
    await page.keyboard.press('Enter')
    await page.locator('dialog tbody tr').first().waitFor()
    await reach('document.activeElement.textContent === "r_1"')
    await page.keyboard.press('Enter')
    await page.locator('dialog[data-life="r_1"] .life li').first().waitFor()
    await page.keyboard.press('Escape')
    await page.locator('dialog[data-life="r_1"]').waitFor({ state: 'detached' })
    await page.keyboard.press('Escape')
    await page.locator('dialog').waitFor({ state: 'detached' })
    expect(await page.evaluate('document.activeElement.dataset.state')).toBe('running')
  })
})
