/** Plays an answer on a connection: waits, writes, breaks, and says how it ended. */
import type { ServerResponse } from 'node:http'
import type { Millis } from '#contracts/units'
import type { Answer, Cue, Ending, Script } from './answer.ts'
import type { Dice } from './chance.ts'
import type { Clock } from './system.ts'

/** `left`: the caller went away. `cut`: a fault ended it. */
export type Delivered = 'finished' | 'left' | 'cut'

interface Stage {
  clock: Clock
  speed: number
  dice: Dice
  /** Headers that every answer of the API carries. */
  common: readonly string[]
  /** Called at most once per write, with the time since arrival, not divided by speed. */
  onProgress?(elapsed: Millis): void
  onStatus(status: number): void
  onEnd(how: Delivered, elapsed: Millis): void
}

/** Sends an answer; the request arrived at `arrivedAt`. */
export function deliver(
  res: ServerResponse,
  answer: Answer,
  arrivedAt: Millis,
  stage: Stage,
): void {
  const { clock, speed } = stage
  const elapsed = (): Millis => (clock.now() - arrivedAt) * speed
  let ended = false
  let disarm: (() => void) | null = null
  const end = (how: Delivered): void => {
    if (ended) return
    ended = true
    disarm?.()
    stage.onEnd(how, elapsed())
  }
  const at = (due: Millis, call: () => void): void => {
    const left = (due - elapsed()) / speed
    if (left <= 0) return call()
    disarm = clock.after(left, () => {
      disarm = null
      if (!ended) call()
    })
  }
  // a write that crosses the caller's leaving on the wire is no news
  res.on('error', () => end('left'))
  res.on('close', () => end(res.writableFinished ? 'finished' : 'left'))
  if (answer.closeAfterMs !== null) closeAfter(res, answer.closeAfterMs / speed, clock)
  if (answer.headersAt === Infinity) return
  at(answer.headersAt, () => begin(res, answer, stage, { elapsed, at, end }))
}

interface Play {
  elapsed(): Millis
  at(due: Millis, call: () => void): void
  end(how: Delivered): void
}

function begin(res: ServerResponse, answer: Answer, stage: Stage, play: Play): void {
  const { body } = answer
  if (body.kind === 'nothing') {
    play.end('cut')
    if (body.ending === 'reset') reset(res)
    return
  }
  stage.onStatus(answer.status)
  const headers = [...answer.headers, ...(answer.fromApi ? stage.common : [])]
  if (body.kind === 'whole' && !answer.ragged) {
    headers.push('content-length', String(Buffer.byteLength(body.text)))
    res.writeHead(answer.status, headers)
    res.end(body.text)
    play.end('finished')
    return
  }
  const script = body.kind === 'script' ? body.script : whole(body.text, play.elapsed())
  if (body.kind === 'script' && body.promised !== null && !answer.ragged) {
    headers.push('content-length', String(body.promised))
  }
  res.writeHead(answer.status, headers)
  const write = answer.ragged ? raggedly(stage.dice) : plainly
  perform(res, script, write, stage, play)
}

/** Fewer timers for fast streams: what is due within this is sent together. */
const TICK_MS: Millis = 4

type Write = (res: ServerResponse, text: string) => boolean

/** Writes cues when they are due; many that are due together become one write. */
function perform(
  res: ServerResponse,
  script: Script,
  write: Write,
  stage: Stage,
  play: Play,
): void {
  let next: IteratorResult<Cue, Ending> = script.next()
  const pump = (): void => {
    const now = play.elapsed()
    let text = ''
    while (next.done !== true && next.value.at <= now) {
      text += next.value.text
      next = script.next()
    }
    if (next.done === true) return finish(res, text, write, next.value, play)
    if (text !== '') stage.onProgress?.(now)
    if (text !== '' && !write(res, text)) {
      res.once('drain', pump)
      return
    }
    play.at(Math.max(next.value.at, now + TICK_MS * stage.speed), pump)
  }
  pump()
}

function finish(res: ServerResponse, text: string, write: Write, how: Ending, play: Play): void {
  if (how === 'end' || how === 'early') {
    if (write !== plainly) write(res, text)
    res.end(write === plainly ? text : '')
    return play.end(how === 'end' ? 'finished' : 'cut')
  }
  if (text === '') res.flushHeaders()
  else write(res, text)
  if (how === 'stall') return
  play.end('cut')
  // an empty write is ordered after what was written, so the bytes leave before the reset
  res.write('', () => reset(res))
}

const plainly: Write = (res, text) => res.write(text)

/** Cuts inside every character of several bytes and every CRLF, and elsewhere at random. */
const raggedly =
  (dice: Dice): Write =>
  (res, text) => {
    const bytes = Buffer.from(text.replaceAll('\n', '\r\n'))
    let from = 0
    let left = 1 + Math.floor(dice() * RAGGED_MAX)
    let ok = true
    for (let i = 1; i <= bytes.length; i++) {
      left--
      const inside = ((bytes[i] ?? 0) & 0xc0) === 0x80 || bytes[i - 1] === CR
      if (!inside && left > 0 && i < bytes.length) continue
      ok = res.write(bytes.subarray(from, i))
      from = i
      left = 1 + Math.floor(dice() * RAGGED_MAX)
    }
    return ok
  }

const RAGGED_MAX = 40
const CR = 0x0d

function* whole(text: string, at: Millis): Script {
  yield { at, text, delta: false }
  return 'end'
}

function reset(res: ServerResponse): void {
  const { socket } = res
  if (socket !== null && !socket.destroyed) socket.resetAndDestroy()
}

/** Leaves the connection silently, as an edge does that has lost patience. */
function closeAfter(res: ServerResponse, waitMs: Millis, clock: Clock): void {
  const { socket } = res
  res.once('finish', () => clock.after(waitMs, () => socket?.destroy()))
}
