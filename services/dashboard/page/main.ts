/** The page: a feed or a recording on one side, its sections on the other, drawn at most once per animation
 *  frame. What comes faster is dropped; every frame is whole, so nothing is missed but the moments between. */
import type { Frame, Hello } from '#contracts/dashboard'
import { acts } from './acts.ts'
import { messageOf } from './api.ts'
import { control } from './control.ts'
import { byId, say } from './dom.ts'
import { fleet } from './fleet.ts'
import { jobs } from './jobs.ts'
import { liveFeed } from './live-feed.ts'
import { machines } from './machines.ts'
import { player, type Player } from './player.ts'
import { questions } from './questions.ts'
import { readRecording, type Recording } from './recording.ts'
import { isRebuilt } from './request-recording.ts'
import { openLife, openRequests } from './requests.ts'
import { slots } from './slots.ts'
import { status } from './status.ts'
import { every, oncePerFrame, wallNow } from './system.ts'
import { openTenant, tenants } from './tenants.ts'
import { usage } from './usage.ts'
import { nextTheme, setTheme, theme } from './theme.ts'
import { toneOf, type Page, type Section, type View } from './view.ts'
import { waitTrend } from './wait-trend.ts'
import { clock, elapsed, shortened } from './words.ts'

let hello: Hello | null = null
let frame: Frame | null = null
let before: Frame | null = null
let receivedAt = 0
/** The route that somebody chose; null: the most troubled one. */
let chosen: string | null = null
/** It stays while it is there, so that the charts do not jump from route to route. */
let shown: string | null = null
let restartedAt: number | null = null
let problem = ''
let playing: Player | null = null

const seen = new Map<string, number>()
let seenNow = new Set<string>()
const trend = waitTrend()

/** The scheduler's wall time as far as we know; a recording's own. */
const now = (): number =>
  playing !== null || receivedAt === 0
    ? (frame?.at ?? wallNow())
    : (frame?.at ?? 0) + wallNow() - receivedAt

const page: Page = {
  selectRoute(id) {
    chosen = id
    draw()
  },
  openRequests: (of) => openRequests(of, page, now),
  openLife,
  openTenant: (name) => openTenant(name, page, now),
}

const plots = control(page, trend)
const jobsRoom = jobs(page)
const usageRoom = usage(now)
const sections: readonly Section[] = [
  status(),
  questions(page),
  machines(page),
  slots(page),
  plots,
  tenants(page, now),
  usageRoom,
  jobsRoom,
  fleet(),
  acts(),
]

const feed = liveFeed({
  path: '/api/feed',
  onHello: greet,
  onFrame: () => draw(),
  onLine: () => draw(),
})

function greet(met: Hello): void {
  if (playing !== null) {
    waiting = met
    return
  }
  const restarted = hello !== null && hello.started_at !== met.started_at
  if (restarted) restartedAt = met.started_at
  begin(met, false)
}
/** Came while a recording played. */
let waiting: Hello | null = null

function begin(met: Hello, recorded: boolean): void {
  const same =
    hello !== null && hello.started_at === met.started_at && hello.instance === met.instance
  hello = met
  if (!same || recorded) {
    frame = before = null
    seen.clear()
    trend.forget()
  }
  say(byId('instance'), `${shortened(met.instance, 24)}, ${met.version}`)
  for (const one of sections) one.begin?.(met, recorded)
  if (!recorded) plots.learn()
}

const draw = oncePerFrame(() => {
  take()
  drawLine()
  if (hello === null || frame === null) return
  const view = viewOf(hello, frame)
  seenNow = new Set()
  for (const section of sections) section.draw(view)
  document.documentElement.dataset['seq'] = String(frame.seq)
  for (const thing of seen.keys()) if (!seenNow.has(thing)) seen.delete(thing)
})

function take(): void {
  if (playing !== null) {
    const { frames } = playing.recording()
    const at = playing.index()
    frame = frames[at] ?? null
    before = frames[at - 1] ?? null
    // A trend of what was before the slider, wherever it was put.
    trend.forget()
    for (const one of frames.slice(Math.max(0, at - TREND_FRAMES), at)) trend.note(one)
    return
  }
  const taken = feed.take()
  if (taken === null) return
  if (frame !== null && frame.seq !== taken.frame.seq) before = frame
  frame = taken.frame
  receivedAt = taken.receivedAt
  trend.note(frame)
}
const TREND_FRAMES = 900

function viewOf(met: Hello, of: Frame): View {
  return {
    hello: met,
    frame: of,
    before,
    now: now(),
    route: routeOf(of),
    trend,
    seenSince(thing) {
      seenNow.add(thing)
      const since = seen.get(thing) ?? of.at
      seen.set(thing, since)
      return since
    },
    recorded: playing !== null,
    stale: staleSaid(),
  }
}

/** The chosen one; else one that stays until another is in trouble and it is not. */
function routeOf(of: Frame): Frame['routes'][number] | null {
  const find = (id: string | null) => of.routes.find((one) => one.id === id)
  const held = find(chosen)
  if (held !== undefined) return held
  const last = find(shown)
  const worst = (['bad', 'warn'] as const)
    .map((tone) => of.routes.find((one) => toneOf(one) === tone))
    .find((one) => one !== undefined)
  const busiest = of.routes.toSorted((a, b) => b.attempts - a.attempts)[0]
  const next =
    last !== undefined && (toneOf(last) !== 'good' || worst === undefined)
      ? last
      : (worst ?? busiest)
  shown = next?.id ?? null
  return next ?? null
}

function staleSaid(): string | null {
  if (playing !== null || feed.state() !== 'lost') return null
  return `No word from the scheduler for ${elapsed(wallNow() - receivedAt)}.`
}

const RESTART_SAID_MS = 120_000

function drawLine(): void {
  const line = byId('line')
  const state = playing === null ? feed.state() : 'record'
  line.dataset['line'] = state
  say(line, problem === '' ? lineSaid(state) : problem)
  document.title = titleSaid()
}

function lineSaid(state: string): string {
  if (state === 'record')
    return frame !== null && isRebuilt(frame)
      ? 'a recording of requests, not live: limits, breakers and quotas are not in it'
      : 'a recording, not live'
  if (state === 'waiting') return 'connecting…'
  if (state === 'lost')
    return `connection lost ${elapsed(wallNow() - feed.since())} ago; trying again by itself`
  if (restartedAt !== null && now() - restartedAt < RESTART_SAID_MS)
    return `live; the scheduler restarted at ${clock(restartedAt)}, counts began anew`
  return 'live'
}

function titleSaid(): string {
  const level = byId('state').dataset['level']
  const sign = playing !== null ? '▶ ' : level === 'bad' ? '✖ ' : level === 'warn' ? '▲ ' : ''
  return `${sign}Headgate`
}

// ---- recordings ----

function playRecording(recording: Recording): void {
  leaveRecording(false)
  waiting = hello
  chosen = shown = null
  playing = player({ recording, onMove: () => draw(), onLeave: () => leaveRecording(true) })
  begin(recording.hello, true)
  plots.recorded(recording.frames)
  jobsRoom.recorded(recording.frames)
  draw()
}

function leaveRecording(backToLive: boolean): void {
  if (playing === null) return
  playing.close()
  playing = null
  chosen = shown = null
  hello = frame = before = null
  receivedAt = 0
  plots.recorded(null)
  jobsRoom.recorded(null)
  seen.clear()
  if (backToLive && waiting !== null) begin(waiting, false)
  draw()
}

async function load(name: string, stream: ReadableStream<Uint8Array<ArrayBuffer>>): Promise<void> {
  try {
    problem = `reading ${shortened(name)}…`
    drawLine()
    const onBytes = (bytes: number): void => {
      problem = `reading ${shortened(name)}: ${Math.round(bytes / 1_000_000)} MB`
      draw()
    }
    const recording = await readRecording(name, stream, onBytes, hello?.charts)
    problem = ''
    playRecording(recording)
  } catch (error) {
    problem = `${shortened(name)} cannot be played: ${messageOf(error)}`
    drawLine()
  }
}

/** `?record=<path>`, of the own origin. */
async function loadNamed(path: string): Promise<void> {
  const url = new URL(path, location.href)
  const response = url.origin === location.origin ? await fetch(url).catch(() => null) : null
  if (response?.ok === true && response.body !== null) return load(path, response.body)
  problem = `${shortened(path)} cannot be loaded`
  drawLine()
}

// ---- the frame of the page ----

function wireFrame(): void {
  const themeButton = byId('theme')
  const sayTheme = (): void => say(themeButton, `Theme: ${theme()}`)
  themeButton.addEventListener('click', () => {
    setTheme(nextTheme(theme()))
    sayTheme()
    plots.repaint()
    jobsRoom.repaint()
    usageRoom.repaint()
  })
  sayTheme()
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => {
    plots.repaint()
    jobsRoom.repaint()
    usageRoom.repaint()
  })
  const file = byId<HTMLInputElement>('record-file')
  byId('record').addEventListener('click', () => file.click())
  file.addEventListener('change', () => {
    const [chosenFile] = file.files ?? []
    if (chosenFile !== undefined) void load(chosenFile.name, chosenFile.stream())
    file.value = ''
  })
  // Times in words go on between frames, and while none come.
  every(1_000, draw)
  document.addEventListener('visibilitychange', () => draw())
  const named = new URLSearchParams(location.search).get('record')
  if (named !== null && named !== '') void loadNamed(named)
}

wireFrame()
