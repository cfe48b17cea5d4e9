import type { Turn } from '../../support/scripted-upstream.ts'
import {
  ANSWER,
  ERROR,
  EVENTS,
  providerConformance,
  type Scene,
} from '../../conformance/provider.ts'
import { JSON_TYPE, PING, SSE_TYPE, bench, frame } from './far-side.ts'

const OVERLOADED = '{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}'

/** Begins a stream with the first `count` events, a ping before each. */
function begin(turn: Turn, count: number): void {
  turn.head({ status: 200, headers: SSE_TYPE })
  for (const data of EVENTS.slice(0, count)) turn.chunk(PING + frame(data))
}

const plays: Record<Scene, (turn: Turn) => void> = {
  json: (turn) => turn.reply({ status: 200, headers: JSON_TYPE, body: ANSWER }),
  stream(turn) {
    begin(turn, EVENTS.length)
    turn.finish()
  },
  overloaded: (turn) =>
    turn.reply({ status: 529, headers: { ...JSON_TYPE, 'retry-after': '0' }, body: OVERLOADED }),
  throttled: (turn) =>
    turn.reply({ status: 429, headers: { ...JSON_TYPE, 'retry-after': '7' }, body: '{}' }),
  rejected: (turn) => turn.reply({ status: 400, headers: JSON_TYPE, body: ERROR }),
  silent() {},
  head_only: (turn) => begin(turn, 0),
  stalled: (turn) => begin(turn, 2),
  cut(turn) {
    begin(turn, 2)
    turn.finish()
  },
  overloaded_midway(turn) {
    begin(turn, 2)
    turn.chunk(frame(OVERLOADED))
  },
  overloaded_first(turn) {
    begin(turn, 0)
    turn.chunk(PING + frame(OVERLOADED))
  },
}

providerConformance('anthropic', async (scene) => {
  const { provider, clock, upstream, stop } = await bench()
  const reached = new Promise<void>((resolve) => {
    upstream.always((turn) => {
      plays[scene](turn)
      resolve()
    })
  })
  return { provider, clock, url: upstream.url, reached: () => reached, stop }
})
