/** `headgate top`: the dashboard's picture in a terminal, once a second. */
import { Command } from 'commander'
import type { Headgate } from '#client'
import { OPERATOR_USER } from '#contracts/permissions'
import { dialOptions, withHeadgate, type DialFlags } from './dialing.ts'
import { snapshotFrom } from './snapshot-from.ts'
import { drawable } from './screen.ts'
import { onStop } from './signals.ts'
import { env, json, say, tell } from './terminal.ts'
import { askingMembers } from './top-members.ts'
import { topMemory } from './top-memory.ts'
import { pageOf } from './top-page.ts'
import { REFRESH_MS, troubleOf, watchScreen, type Look, type Seen } from './top-watch.ts'
import { systemClock, wall, within } from '#platform/system'

interface TopFlags extends DialFlags {
  once?: true
  json?: true
}

/** Of a page that goes into a file or a pipe, unless COLUMNS says otherwise. */
const FILE_COLUMNS = 100

export const top = (): Command =>
  dialOptions(new Command('top'))
    .summary('watch lanes, routes and tenants')
    .description(
      'Shows what one instance is doing, once a second: guardrails, routes with limit and breaker, ' +
        'lanes, durable jobs, tenants, the last transitions; and what its fleet does together. ' +
        'q or Ctrl-C ends it.',
    )
    .option('--once', 'show it once, as plain text')
    .option('--json', 'print the snapshot as JSON, one line per second or, with --once, indented')
    .action(async (flags: TopFlags) => {
      const drawn = flags.once !== true && flags.json !== true && drawable(process.stdout)
      await withHeadgate({ ...flags, tenant: OPERATOR_USER }, (headgate, transport) => {
        const look = looking(headgate, { fleet: flags.json !== true })
        const prefix = flags.subjectPrefix ?? 'llm'
        if (drawn) return watchScreen({ look, transport, prefix })
        return flags.once === true ? once(look, flags) : watchLines(look, flags)
      })
      // A question that is still out, to a server that is away, holds nobody up.
      if (drawn) process.exit()
    })

async function once(look: Look, flags: TopFlags): Promise<void> {
  const seen = await look()
  if (flags.json === true) json(seen.snapshot)
  else say(plainPage(seen))
}

/** Every instance hears the question; the one that answered first is asked from then on, for as long as it
 *  answers. */
function looking(headgate: Headgate, of: { fleet: boolean }): Look {
  let instance: string | null = null
  const others = askingMembers({ headgate, clock: systemClock, within })
  return async () => {
    const asked = instance
    instance = null
    const snapshot = snapshotFrom(
      await headgate.admin('snapshot', asked === null ? {} : { instance: asked }),
    )
    instance = snapshot.instance
    return { snapshot, whole: of.fleet ? await others(snapshot) : null }
  }
}

async function watchLines(look: Look, flags: TopFlags): Promise<void> {
  let watching = true
  const leave = Promise.withResolvers<null>()
  onStop(() => {
    watching = false
    leave.resolve(null)
  })
  while (watching) {
    try {
      const seen = await Promise.race([look(), leave.promise])
      if (seen !== null)
        say(flags.json === true ? JSON.stringify(seen.snapshot) : `${plainPage(seen)}\n`)
    } catch (error) {
      tell(`headgate: ${troubleOf(error)}`)
    }
    await within(REFRESH_MS, leave.promise)
  }
}

/** Without escape codes, as wide as the terminal or as COLUMNS says. */
function plainPage(seen: Seen): string {
  const named = Number(env('COLUMNS'))
  const columns =
    process.stdout.columns ?? (Number.isInteger(named) && named > 0 ? named : FILE_COLUMNS)
  const page = pageOf({
    ...seen,
    memory: topMemory(),
    now: wall(),
    columns,
    rows: Infinity,
    paint: (_tone, text) => text,
    live: false,
  })
  return page.map((line) => line.trimEnd()).join('\n')
}
