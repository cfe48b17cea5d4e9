/** A section that asks the server for itself: while it is seen, and never while a recording plays, which has nothing of
 *  it; then `silent` says so in its place. */
import { every } from './system.ts'

export interface WhileSeen {
  /** A recording plays: what still comes is not to be drawn. */
  recorded(): boolean
  begin(isRecorded: boolean): void
}

export function whileSeen(of: {
  host: HTMLElement
  live: HTMLElement
  silent: HTMLElement
  everyMs: number
  load: () => void
}): WhileSeen {
  const { host, live, silent, load } = of
  let visible = false
  let recorded = false
  host.replaceChildren(live, silent)
  new IntersectionObserver(([entry]) => {
    const before = visible
    visible = entry?.isIntersecting ?? false
    if (visible && !before && !recorded) load()
  }).observe(host)
  every(of.everyMs, () => {
    if (visible && !recorded && document.visibilityState === 'visible') load()
  })
  return {
    recorded: () => recorded,
    begin(isRecorded) {
      recorded = isRecorded
      live.hidden = recorded
      silent.hidden = !recorded
    },
  }
}
