/** A fake Claude that is used up: hidden slots, a storm in which most calls meet a 529, a quota that is cut. Each
 *  call says in `metadata.user_id` who it is and how long its answer takes (`<index>-<ms>`), so that every column
 *  meets the same services. Told over IPC: `start` begins a run, `rows` asks what became of each call.
 *  Arguments: seed, seconds, capacity, cut, port. */
import { createServer, type ServerResponse } from 'node:http'
import { seeded } from '#simulator/chance'
import { CUT_BURST, cutRate, isCut, isStorm, STORM_PASSES } from '#simulator/overload'

const [seed = 1, seconds = 240, capacity = 48, cut = 0.5, port = 0] = process.argv
  .slice(2)
  .map(Number)
const rate = cutRate({ capacity, cut })

let began = Infinity
let serving = 0
let storm = seeded(seed, 'overload storm')
let bucket = { level: CUT_BURST, at: 0 }
let told = new Map<number, { attempts: number; refused: number }>()

function start(): void {
  began = performance.now()
  storm = seeded(seed, 'overload storm')
  bucket = { level: CUT_BURST, at: 0 }
  told = new Map()
}

/** Seconds until the quota allows a call; 0: it does. */
function quotaWait(at: number): number {
  bucket = { level: Math.min(CUT_BURST, bucket.level + (at - bucket.at) * rate), at }
  if (bucket.level < 1) return (1 - bucket.level) / rate
  bucket.level -= 1
  return 0
}

const error = (res: ServerResponse, status: number, type: string, more = {}): void => {
  const body = JSON.stringify({ type: 'error', error: { type, message: type } })
  res.writeHead(status, { 'content-type': 'application/json', ...more })
  res.end(body)
}

function answer(res: ServerResponse, serviceMs: number): void {
  serving++
  const timer = setTimeout(() => {
    const usage = { input_tokens: 200, output_tokens: Math.round(serviceMs * 0.06) }
    const content = [{ type: 'text', text: 'x'.repeat(60) }]
    const message = { id: 'msg_bench', type: 'message', role: 'assistant', model: 'claude-bench' }
    res.writeHead(200, { 'content-type': 'application/json', 'request-id': 'req_bench' })
    res.end(JSON.stringify({ ...message, content, stop_reason: 'end_turn', usage }))
  }, serviceMs)
  res.once('close', () => {
    clearTimeout(timer)
    serving--
  })
}

function meet(res: ServerResponse, body: string): void {
  const [, index = '', ms = ''] = /"user_id":"(\d+)-(\d+)"/.exec(body) ?? []
  if (index === '') return error(res, 400, 'invalid_request_error')
  const at = (performance.now() - began) / 1_000
  const call = told.get(Number(index)) ?? { attempts: 0, refused: 0 }
  told.set(Number(index), call)
  call.attempts++
  call.refused++
  if (isStorm(at, seconds) && storm() >= STORM_PASSES) return error(res, 529, 'overloaded_error')
  if (serving >= capacity) return error(res, 529, 'overloaded_error')
  const wait = isCut(at, seconds) ? quotaWait(at) : 0
  if (wait > 0)
    return error(res, 429, 'rate_limit_error', { 'retry-after': String(Math.ceil(wait)) })
  call.refused--
  answer(res, Number(ms))
}

const server = createServer((req, res) => {
  let body = ''
  req.setEncoding('latin1')
  req.on('data', (chunk: string) => (body += chunk))
  req.on('end', () => meet(res, body))
})
server.keepAliveTimeout = 60_000
server.listen(port, '127.0.0.1', () => {
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no address')
  process.send?.({ type: 'ready', url: `http://127.0.0.1:${address.port}` })
})
process.on('message', (message) => {
  if (message === 'start') start()
  if (message === 'rows') process.send?.({ type: 'rows', rows: [...told] })
})
process.on('disconnect', () => process.exit(0))
