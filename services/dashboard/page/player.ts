/** Plays a recording in the same page: a slider over its time, a speed, and the way back to live. */
import { attr, button, byId, h, say } from './dom.ts'
import type { Recording } from './recording.ts'
import { clock, duration, shortened } from './words.ts'

export interface Player {
  recording(): Recording
  /** The frame that stands under the slider. */
  index(): number
  close(): void
}

const SPEEDS = [1, 5, 20, 60] as const

export function player(of: {
  recording: Recording
  /** The slider stands elsewhere. */
  onMove: () => void
  onLeave: () => void
}): Player {
  const { frames, name } = of.recording
  const first = frames[0]?.at ?? 0
  const last = frames.at(-1)?.at ?? first
  let at = first
  let index = 0
  let speed: number = SPEEDS[1]
  let playing = false
  let closed = false

  const { host, place, slider, toggle, select } = barOf(name, last - first, {
    toggle: () => play(!playing),
    leave: of.onLeave,
  })
  select.value = String(speed)
  select.addEventListener('change', () => (speed = Number(select.value)))
  slider.addEventListener('input', () => {
    play(false)
    seek(first + Number(slider.value))
  })

  const seek = (to: number): void => {
    at = Math.min(last, Math.max(first, to))
    const before = index
    index = indexAt(frames, at)
    slider.value = String(at - first)
    const said = `${clock(at)}, ${duration(at - first)} of ${duration(last - first)}`
    say(place, said)
    attr(slider, 'aria-valuetext', said)
    if (index !== before) of.onMove()
  }
  const play = (on: boolean): void => {
    if (on === playing) return
    playing = on
    say(toggle, on ? '‖ Pause' : '▶ Play')
    if (on && at >= last) seek(first)
    if (on) requestAnimationFrame((now) => turn(now))
  }
  const turn = (before: number): void => {
    requestAnimationFrame((now) => {
      if (!playing || closed) return
      seek(at + (now - before) * speed)
      if (at >= last) return play(false)
      turn(now)
    })
  }
  seek(first)
  return {
    recording: () => of.recording,
    index: () => index,
    close() {
      closed = true
      host.hidden = true
      host.replaceChildren()
    },
  }
}

/** The bar, where it stands in the page. */
function barOf(name: string, lengthMs: number, on: { toggle: () => void; leave: () => void }) {
  const place = h('span', { class: 'small', id: 'player-said' })
  const slider = h('input', {
    type: 'range',
    id: 'player-time',
    min: 0,
    max: Math.max(1, lengthMs),
    step: 1_000,
    value: 0,
    'aria-label': 'Time in the recording',
  })
  const toggle = button('▶ Play', on.toggle, { id: 'player-play' })
  const select = h(
    'select',
    { 'aria-label': 'Speed' },
    ...SPEEDS.map((one) => h('option', { value: one }, `${one} ×`)),
  )
  const host = byId('player')
  host.replaceChildren(
    h(
      'div',
      { class: 'row' },
      h('b', { class: 'name' }, `Recording ${shortened(name, 40)}`),
      toggle,
      select,
      slider,
      place,
      button('Back to live', on.leave, { id: 'player-leave' }),
    ),
  )
  host.hidden = false
  return { host, place, slider, toggle, select }
}

/** The last frame that is not later. */
function indexAt(frames: Recording['frames'], at: number): number {
  let [low, high] = [0, frames.length - 1]
  while (low < high) {
    const middle = Math.ceil((low + high) / 2)
    if ((frames[middle]?.at ?? Infinity) <= at) low = middle
    else high = middle - 1
  }
  return low
}
