/** A fault is injected into the real stack (nats-server, scheduler, simulated provider); the page's headline must
 *  name that fault, since when, for whom and what can be done. What is right is what was injected, not what the
 *  feed says. The seconds it takes are printed. */
import type { Browser, Page } from 'playwright-core'
import { afterAll, describe, expect, test, vi } from 'vitest'
import { openChromium } from '../support/chromium.ts'
import { natsServer, type NatsServer } from '../support/nats-server.ts'
import { headgate, launch, type Program } from '../support/program.ts'
import { openTraffic, type Traffic } from '../support/traffic.ts'
import {
  startSimulatedProvider,
  type SimulatedProvider,
} from '../../services/simulated-provider/listener.ts'

const browser: Browser | null = await openChromium()
afterAll(() => browser?.close())

interface World {
  nats: NatsServer
  provider: SimulatedProvider
  scheduler: Program
  httpUrl: string
  gatewayUrl: string
}

const MODEL = 'claude-sonnet-4-5'
/** Answers before the fault, so that it is known what is usual. */
const WARM_ANSWERS = 30
/** An operator may count on ten on a machine of their own; a crowded one may take twice as long. */
const SECONDS_MAX = 20

async function openWorld(): Promise<World> {
  const [nats, provider] = await Promise.all([
    natsServer(),
    startSimulatedProvider({ ttftMs: 120, tokensPerSecond: 400, outputTokens: 60 }),
  ])
  const scheduler = launch('scheduler', {
    NATS_URL: nats.url,
    ANTHROPIC_BASE_URL: provider.url,
    ANTHROPIC_API_KEY: 'sk-any',
    HEADGATE_HTTP_PORT: '0',
    HEADGATE_GATEWAY: 'on',
    HEADGATE_GATEWAY_PORT: '0',
    LOG_LEVEL: 'error',
  })
  const { http, gateway } = await scheduler.told
  return { nats, provider, scheduler, httpUrl: http!, gatewayUrl: gateway! }
}

async function trafficOf({ nats }: World): Promise<Traffic> {
  const load = await openTraffic(nats.url)
  for (const tenant of ['acme', 'globex', 'initech'])
    for (const stream of [true, false])
      load.add({ tenant, lane: 'interactive', model: MODEL, perSecond: 2, stream, maxTokens: 60 })
  return load
}

interface Story {
  inject: (world: World) => unknown
  /** What the headline must say. */
  headline: RegExp
  whom: RegExp
  act: RegExp
  runbook: string
}

const STORIES: Record<string, Story> = {
  'a 529 storm': {
    inject: ({ provider }) => provider.fault({ kind: 'storm_529' }),
    headline: /The upstream is overloaded \(529\).*claude-sonnet-4-5/,
    whom: /waiting and \d+ running|nobody at the moment|to be tried again/,
    act: /status page of the upstream|see what the failures are/,
    runbook: '(failing|breaker)',
  },
  'a hang': {
    inject: ({ provider }) => provider.fault({ kind: 'hang_before_headers' }),
    headline: /^No answer from claude-sonnet-4-5 for \d+ s/,
    whom: /waiting and \d+ running/,
    act: /status page of the upstream/,
    runbook: 'no_answer',
  },
  'a hang of most calls': {
    inject: ({ provider }) => provider.fault({ kind: 'hang_before_headers', probability: 0.8 }),
    headline: /^No answer from claude-sonnet-4-5 for \d+ s/,
    whom: /waiting and \d+ running/,
    act: /status page of the upstream/,
    runbook: 'no_answer',
  },
  'a quota drop': {
    inject: ({ provider }) => provider.fault({ kind: 'quota_drop', rpm: 20 }),
    headline: /^Quota (nearly )?used up.*claude-sonnet-4-5/,
    whom: /waiting and \d+ running|nobody at the moment|to be tried again/,
    act: /provider/,
    runbook: 'quota_(used_up|pacing)',
  },
  'a refused key': {
    inject: ({ provider }) => provider.fault({ kind: 'unauthorized_401' }),
    headline: /^Upstream default refuses the key \(401\)/,
    whom: /waiting and \d+ running|nobody at the moment|to be tried again/,
    act: /put a key in force that works/,
    runbook: 'key_refused',
  },
  'NATS lost': {
    inject: ({ nats }) => nats.kill(),
    headline: /^The connection to NATS is lost/,
    whom: /programs that publish.*callers of the HTTP door are served as before/,
    act: /nats-server/,
    runbook: 'nats_lost',
  },
}

describe.skipIf(browser === null)('the headline names the fault that was injected', () => {
  test.each(Object.keys(STORIES))(
    '%s',
    async (name) => {
      for (let begun = 1; ; begun++) {
        const end = await told(name).catch((error: unknown) => error)
        if (end === undefined) return
        if (!(end instanceof Stalled) || begun === STORY_BEGUN_MAX) throw end
      }
    },
    180_000,
  )
})

/** A machine so crowded that the scheduler could not run says that first, and rightly. */
class Stalled extends Error {}
const STALLED = /event loop stall/
const STORY_BEGUN_MAX = 3

async function told(name: string): Promise<void> {
  const story = STORIES[name]!
  const world = await openWorld()
  const load = await trafficOf(world)
  const context = await browser!.newContext({ viewport: { width: 1280, height: 900 } })
  try {
    const page = await context.newPage()
    await page.goto(world.httpUrl)
    await vi.waitFor(() => expect(load.ended()).toBeGreaterThan(WARM_ANSWERS), PATIENCE)
    await headlineOf(page, /^All is well/)
    const injectedAt = Date.now()
    await story.inject(world)
    const headline = await headlineOf(page, story.headline)
    const seconds = (Date.now() - injectedAt) / 1_000
    process.stderr.write(`${name}: the headline says so after ${seconds.toFixed(1)} s\n`)
    expect(seconds).toBeLessThan(SECONDS_MAX)
    expect(headline).not.toMatch(/spend/i)
    const [, since, whom, , act] = await cellsOf(page)
    expect(whom).toMatch(story.whom)
    expect(act).toMatch(story.act)
    const link = page.locator('.finding').first().locator('a')
    expect(await link.getAttribute('href')).toMatch(new RegExp(`^/runbook#${story.runbook}$`))
    // Since the fault, not since the page was opened: another page that opens later says the same.
    const later = await context.newPage()
    await later.goto(world.httpUrl)
    await headlineOf(later, story.headline)
    const [, alsoSince] = await cellsOf(later)
    const lastsMs = Date.now() - injectedAt
    for (const [said, least] of [
      [since, 0],
      [alsoSince, seconds - 3],
    ] as const) {
      const lasting = secondsIn(said!)
      expect(lasting).toBeGreaterThanOrEqual(Math.min(least, lastsMs / 1_000 - 3) - SLOW_S)
      expect(lasting).toBeLessThanOrEqual(lastsMs / 1_000 + SLOW_S)
    }
    await later.goto(`${world.httpUrl}${await link.getAttribute('href')}`)
    expect(await later.locator('article:target h2').innerText()).not.toBe('')
    if (name === 'NATS lost') await servesHttp(world)
  } finally {
    await context.close()
    await load.close().catch(() => {})
    await world.scheduler.kill()
    await world.provider.close()
    await world.nats.stop()
  }
}

const PATIENCE = { timeout: 40_000, interval: 50 }
/** What lies between a fault and the first call that meets it. */
const SLOW_S = 3

async function headlineOf(page: Page, words: RegExp): Promise<string> {
  const headline = await vi.waitFor(async () => {
    const said = await page.locator('#state-title').innerText()
    if (!words.test(said) && !STALLED.test(said)) throw new Error(`the headline says: ${said}`)
    return said
  }, PATIENCE)
  if (STALLED.test(headline)) throw new Stalled(headline)
  return headline
}

const cellsOf = (page: Page): Promise<string[]> =>
  page.locator('.finding').first().locator('dd').allInnerTexts()

/** `02:13 (1 min 5 s)`. */
const secondsIn = (said: string): number => {
  const [, minutes = '0', seconds = '0'] = /\((?:(\d+) min)? ?(?:(\d+) s)?\)/.exec(said) ?? []
  return Number(minutes) * 60 + Number(seconds)
}

async function servesHttp({ httpUrl, gatewayUrl }: World): Promise<void> {
  const answer = await fetch(`${gatewayUrl}/v1/messages`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'x-api-key': 'any' },
    body: JSON.stringify({
      model: MODEL,
      max_tokens: 20,
      messages: [{ role: 'user', content: 'Say hello.' }],
    }),
  })
  expect(answer.status).toBe(200)
  const ready = async (path: string): Promise<number> => (await fetch(path)).status
  expect(await ready(`${httpUrl}/readyz`)).toBe(200)
  expect(await ready(`${httpUrl}/readyz?door=nats`)).toBe(503)
  expect(await ready(`${httpUrl}/readyz?door=http`)).toBe(200)
  expect(await ready(`${gatewayUrl}/readyz`)).toBe(200)
  const env = {
    HEADGATE_HTTP_PORT: new URL(httpUrl).port,
    HEADGATE_GATEWAY_PORT: new URL(gatewayUrl).port,
  }
  const health = (...args: string[]) => headgate(['health', ...args], env).exit
  expect(await Promise.all([health(), health('--door', 'nats'), health('--door', 'http')])).toEqual(
    [0, 1, 0],
  )
}
