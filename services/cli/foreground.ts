/** Programs that run until they are told to stop. */
import type { Millis } from '#contracts/units'
import { guestClock } from '#platform/system'
import { GATEWAY_PORT } from './default-ports.ts'
import { isFree } from './free-port.ts'
import { sayEnd, startProgram, type Program } from './program.ts'
import { onStop } from './signals.ts'
import { env, Failure, messageOf, tell, whole } from './terminal.ts'

type Started = Parameters<typeof startProgram>[0]
type Ready = Record<string, unknown>

/** More doors than this help no scheduler. */
const WORKERS_MAX = 64
export const WORKERS_HELP = `serve the HTTP door by so many processes at one port, 1 to ${WORKERS_MAX}, which ask the scheduler over NATS`
/** A door that ended is started again after so long, doubling up to the second. */
const AGAIN_MS = { first: 250, most: 30_000 }

export const LESS_MEMORY_HELP = 'take less memory under load, for more CPU'

export const workers = (text: string): number =>
  whole({ text, min: 1, max: WORKERS_MAX, what: `a whole number from 1 to ${WORKERS_MAX}` })

/** One program, until it ends or is told to. Answers with what we should end with. */
export async function inForeground(
  of: Started,
  onReady: (ready: Ready) => void = () => {},
): Promise<number> {
  return run(async (begin) => onReady(await begin(of).ready))
}

/** A scheduler, if there is one, and so many HTTP doors at one port. A door that ends is started again; where the
 *  scheduler ends, all do. */
export async function withDoors(of: {
  scheduler: Started | null
  doors: number
  config: string | undefined
  lessMemory: boolean
}): Promise<number> {
  const { scheduler, doors, config, lessMemory } = of
  const port = env('HEADGATE_GATEWAY_PORT') ?? String(GATEWAY_PORT)
  if (doors > 1 && Number(port) > 0) await takenByNobody(Number(port))
  return run(async (begin, isStopping) => {
    if (scheduler !== null) await begin(scheduler).ready
    let at = port
    for (let worker = 1; worker <= doors && !isStopping(); worker++) {
      const door = open(worker, at)
      const { gateway } = await door.ready
      if (typeof gateway === 'string') at = new URL(gateway).port
      if (doors > 1) void again(door, { worker, where: at })
    }

    function open(worker: number, where: string): Program<Ready> {
      const of: Started = {
        name: 'gateway',
        lessMemory,
        env: {
          HEADGATE_CONFIG: config,
          HEADGATE_GATEWAY_PORT: where,
          HEADGATE_GATEWAY_WORKER: doors > 1 ? String(worker) : undefined,
        },
      }
      return begin(of, doors > 1)
    }

    async function again(
      first: Program<Ready>,
      { worker, where }: { worker: number; where: string },
    ): Promise<void> {
      let waitMs: Millis = AGAIN_MS.first
      for (let door = first; ;) {
        const end = await door.ended
        if (isStopping()) return
        tell(`headgate: the ${door.name} ${sayEnd(end)}; another is started`)
        await pause(waitMs)
        if (isStopping()) return
        door = open(worker, where)
        try {
          await door.ready
          waitMs = AGAIN_MS.first
        } catch (error) {
          tell(`headgate: ${messageOf(error)}`)
          waitMs = Math.min(2 * waitMs, AGAIN_MS.most)
        }
      }
    }
  })
}

/** It holds up no stop. */
const pause = (ms: Millis): Promise<void> =>
  new Promise((resolve) => void guestClock.after(ms, resolve))

/** Doors that share a port would let any other program in that does so too. */
async function takenByNobody(port: number): Promise<void> {
  const host = env('HEADGATE_HOST') ?? '127.0.0.1'
  if (!(await isFree({ port, host })))
    throw new Failure(
      `HEADGATE_GATEWAY_PORT: port ${port} on ${host} is in use; choose another, or 0 for any`,
    )
}

/** `mayEnd`: others go on without it. */
type Begin = (of: Started, mayEnd?: boolean) => Program<Ready>

async function run(
  start: (begin: Begin, isStopping: () => boolean) => Promise<void>,
): Promise<number> {
  const running = new Set<Program<Ready>>()
  let stopping = false
  let asked = false
  const { promise: lost, resolve: lose } = Promise.withResolvers<Program<Ready>>()
  const begin: Begin = (of, mayEnd = false) => {
    const program = startProgram<Ready>({ output: 'stdout', ...of })
    running.add(program)
    void program.ended.then(() => {
      if (mayEnd && !stopping) running.delete(program)
      else lose(program)
    })
    return program
  }
  const stop = (signal: NodeJS.Signals): void => {
    stopping = true
    for (const one of running) one.signal(signal)
  }
  const { promise: told, resolve: tellStop } = Promise.withResolvers<null>()
  onStop((signal) => {
    asked = true
    stop(signal === 'SIGHUP' ? 'SIGTERM' : signal)
    tellStop(null)
  })
  try {
    await start(begin, () => stopping)
  } catch (error) {
    stop('SIGTERM')
    await Promise.all([...running].map(({ ended }) => ended))
    if (asked) return 0
    throw new Failure(messageOf(error))
  }
  const first = await Promise.race([lost, told])
  if (!asked) stop('SIGTERM')
  const ends = await Promise.all([...running].map(({ ended }) => ended))
  if (first !== null && !asked) {
    const end = await first.ended
    if (end.how !== 'exit' || running.size > 1)
      throw new Failure(`the ${first.name} ${sayEnd(end)}`)
  }
  return ends.every((one) => one.how === 'exit' && one.code === 0) ? 0 : 1
}
