/** The stream of frames, and its recovery. Keeps only the newest frame, unparsed, until somebody takes it:
 *  a feed faster than the browser costs no more than its bytes. */
import type { Frame, Hello } from '#contracts/dashboard'
import { after, every, wallNow } from './system.ts'

export type LineState = 'waiting' | 'live' | 'lost'

export interface LiveFeed {
  /** The newest frame, once. */
  take(): { frame: Frame; receivedAt: number } | null
  state(): LineState
  /** Since when the state is what it is. */
  since(): number
  close(): void
}

const RETRY_MS = { first: 500, most: 4_000 }
/** So many frames' time without one, and the line counts as lost. */
const SILENCE_MS = 5_000

export function liveFeed(of: {
  path: string
  onHello: (hello: Hello) => void
  onFrame: () => void
  /** The state of the line has changed. */
  onLine: () => void
}): LiveFeed {
  let source: EventSource | null = null
  let newest: { data: string; receivedAt: number } | null = null
  let state: LineState = 'waiting'
  let since = wallNow()
  let heardAt = wallNow()
  let retryMs = RETRY_MS.first
  let cancelRetry = (): void => {}

  const become = (to: LineState): void => {
    if (state === to) return
    state = to
    since = wallNow()
    of.onLine()
  }
  const open = (): void => {
    const made = new EventSource(of.path)
    source = made
    made.addEventListener('hello', (event) => {
      if (made !== source) return
      heardAt = wallNow()
      newest = null
      of.onHello(JSON.parse((event as MessageEvent<string>).data) as Hello)
    })
    made.addEventListener('frame', (event) => {
      if (made !== source) return
      heardAt = wallNow()
      retryMs = RETRY_MS.first
      newest = { data: (event as MessageEvent<string>).data, receivedAt: heardAt }
      become('live')
      of.onFrame()
    })
    // Its own retries give up for good at an error answer, so ours replace them.
    made.addEventListener('error', () => again(made))
  }
  const again = (failed: EventSource | null): void => {
    if (failed !== source) return
    failed?.close()
    source = null
    become('lost')
    cancelRetry = after(retryMs, open)
    retryMs = Math.min(RETRY_MS.most, retryMs * 2)
  }
  const endWatch = every(1_000, () => {
    if (source !== null && state === 'live' && wallNow() - heardAt > SILENCE_MS) again(source)
  })
  open()
  return {
    take() {
      if (newest === null) return null
      const { data, receivedAt } = newest
      newest = null
      return { frame: JSON.parse(data) as Frame, receivedAt }
    },
    state: () => state,
    since: () => since,
    close() {
      endWatch()
      cancelRetry()
      source?.close()
      source = null
    },
  }
}
