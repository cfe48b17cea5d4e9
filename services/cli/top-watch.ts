/** `headgate top` on a whole terminal, until somebody ends it. */
import { styleText } from 'node:util'
import { HeadgateError, type Transport } from '#client'
import type { Snapshot } from '#contracts/snapshot'
import { subjects } from '#contracts/subjects'
import type { WholeFleet } from '#contracts/whole-fleet'
import { openScreen, type Screen } from './screen.ts'
import { onStop } from './signals.ts'
import { every, wall, within } from '#platform/system'
import { topMemory, type TopMemory } from './top-memory.ts'
import { pageOf, waitingPage } from './top-page.ts'
import { duration, type Paint, type Tone } from './top-text.ts'

/** One picture: the instance that is followed, and its whole fleet, if it has one. */
export interface Seen {
  snapshot: Snapshot
  whole: WholeFleet | null
}
export type Look = () => Promise<Seen>

export const REFRESH_MS = 1_000
/** An answer that takes longer is one that does not come. */
const PATIENCE_MS = 2_000

interface Watched {
  look: Look
  transport: Transport
  /** Of the subjects. */
  prefix: string
}

export async function watchScreen(of: Watched): Promise<void> {
  const leave = Promise.withResolvers<void>()
  const memory = topMemory()
  const picture = pictureOf(memory, painting(process.stdout.hasColors()))
  const screen = openScreen({
    input: process.stdin,
    output: process.stdout,
    onQuit: () => leave.resolve(),
    onResize: () => picture.draw(screen),
  })
  const second = asking({ ...of, memory, picture, drawn: () => picture.draw(screen) })
  const ask = (): void => void second().catch((error: unknown) => leave.reject(error))
  const ends = [
    () => screen.close(),
    onStop(() => leave.resolve()),
    every(REFRESH_MS, ask),
    ...hearing(of, memory),
  ]
  ask()
  try {
    await leave.promise
  } finally {
    for (const end of ends) end()
  }
}

interface Picture {
  /** What was seen, or why nothing was. */
  told(of: Seen | string): void
  draw(on: Screen): void
}

/** The last that was told, and since when nothing was. */
function pictureOf(memory: TopMemory, paint: Paint): Picture {
  let seen: Seen | null = null
  let toldAt = wall()
  let trouble: string | null = null
  return {
    told(of) {
      const heard = typeof of !== 'string'
      memory.note(heard ? of.snapshot : null, wall())
      trouble = heard ? null : of
      if (!heard) return
      seen = of
      toldAt = wall()
    },
    draw(on) {
      const now = wall()
      const { columns, rows } = on.size()
      const gone =
        trouble === null
          ? undefined
          : `NO ANSWER FROM THE SCHEDULER for ${duration(now - toldAt)} (${trouble}); asking again`
      on.draw(
        seen === null
          ? waitingPage({ trouble: gone ?? 'asking the scheduler', columns, paint })
          : pageOf({ ...seen, memory, now, columns, rows, paint, live: true, trouble: gone }),
      )
    },
  }
}

/** Asks and draws, never two questions at once; one that is given up is heard by nobody. */
function asking(of: Watched & { memory: TopMemory; picture: Picture; drawn(): void }) {
  let busy = false
  return async (): Promise<void> => {
    if (busy) return of.drawn()
    busy = true
    try {
      of.picture.told((await within(PATIENCE_MS, of.look())) ?? 'it does not answer in time')
    } catch (error) {
      of.picture.told(troubleOf(error))
    } finally {
      busy = false
    }
    of.drawn()
  }
}

/** Listens to the controllers; the answers end it. */
function hearing(of: Watched, memory: TopMemory): (() => void)[] {
  const to = subjects(of.prefix)
  return (['breaker', 'limit', 'guardrail'] as const).map((kind) => {
    const subscription = of.transport.subscribe(to.controllerEvent(kind, '*'), (message) =>
      memory.hear({
        type: message.header('ce-type') ?? '',
        time: message.header('ce-time') ?? '',
        source: message.header('ce-source') ?? '',
        text: () => new TextDecoder().decode(message.data),
      }),
    )
    return () => subscription.close()
  })
}

/** What the scheduler or the way to it says; anything else is a bug of ours. */
export function troubleOf(error: unknown): string {
  if (error instanceof HeadgateError) return error.message
  throw error
}

const STYLES: Record<Tone, Parameters<typeof styleText>[0]> = {
  good: 'green',
  warn: 'yellow',
  bad: ['bold', 'red'],
  faint: 'dim',
  strong: 'bold',
}

const painting =
  (colours: boolean): Paint =>
  (tone, text) =>
    !colours || tone === undefined || text === ''
      ? text
      : styleText(STYLES[tone], text, { validateStream: false })
