/** Programs that run until they are told to stop, or until one of them ends. */
import { InvalidArgumentError } from 'commander'
import { sayEnd, startProgram, type Program } from './program.ts'
import { onStop } from './signals.ts'
import { Failure, messageOf } from './terminal.ts'

type Started = Parameters<typeof startProgram>[0]
type Ready = Record<string, unknown>

/** More doors than this help no scheduler. */
const WORKERS_MAX = 64
export const WORKERS_HELP = `serve the HTTP door by so many processes at one port, 1 to ${WORKERS_MAX}, which ask the scheduler over NATS`

export function workers(text: string): number {
  const count = Number(text)
  if (/^\d+$/.test(text) && count >= 1 && count <= WORKERS_MAX) return count
  throw new InvalidArgumentError(`expected a whole number from 1 to ${WORKERS_MAX}`)
}

/** HTTP doors at one port. */
export const doors = (count: number, config: string | undefined): Started[] =>
  Array.from({ length: count }, () => ({
    name: 'gateway' as const,
    env: { HEADGATE_CONFIG: config, HEADGATE_GATEWAY_SHARED: count > 1 ? 'on' : undefined },
  }))

/** The first, and when it is ready the others, who listen where the first of them does. Where one ends that was not
 *  told to, all do. Answers with what the process should end with. */
export async function inForeground(
  first: Started,
  others: readonly Started[] = [],
  onReady: (ready: Ready) => void = () => {},
): Promise<number> {
  const running: Program<Ready>[] = []
  let asked = false
  const begin = (of: Started): Program<Ready> => {
    const program = startProgram<Ready>({ output: 'stdout', ...of })
    running.push(program)
    return program
  }
  const stop = (signal: NodeJS.Signals): void => running.forEach((one) => one.signal(signal))
  onStop((signal) => {
    asked = true
    stop(signal === 'SIGHUP' ? 'SIGTERM' : signal)
  })
  try {
    const ready = await begin(first).ready
    onReady(ready)
    let port = portIn(ready)
    for (const of of others) {
      if (asked) break
      const env = port === undefined ? of.env : { ...of.env, HEADGATE_GATEWAY_PORT: port }
      port = portIn(await begin({ ...of, ...(env === undefined ? {} : { env }) }).ready) ?? port
    }
  } catch (error) {
    stop('SIGTERM')
    await Promise.all(running.map(({ ended }) => ended))
    if (asked) return 0
    throw new Failure(messageOf(error))
  }
  const end = await Promise.race(running.map(async (one) => ({ one, how: await one.ended })))
  if (!asked) stop('SIGTERM')
  const ends = await Promise.all(running.map(({ ended }) => ended))
  const amiss = !asked && (end.how.how !== 'exit' || running.length > 1)
  if (amiss) throw new Failure(`the ${end.one.name} ${sayEnd(end.how)}`)
  return ends.every((one) => one.how === 'exit' && one.code === 0) ? 0 : 1
}

/** Where the first door listens, the others do too. */
function portIn({ gateway }: Ready): string | undefined {
  return typeof gateway === 'string' ? new URL(gateway).port : undefined
}
