#!/usr/bin/env node
/** The `headgate` command: one verb per file. Exit status 0, 1 (it failed), 2 (called wrong). */
import '#contracts/engine'
import './compile-cache.ts'
import { Command, CommanderError } from 'commander'
import { Failure, forgiveReaders, messageOf, Misuse, tell } from './terminal.ts'
import { version } from './version.ts'

/** Each is loaded when it is called: what one verb needs, another does not wait for. */
const VERBS: Record<string, () => Promise<() => Command>> = {
  up: async () => (await import('./up.ts')).up,
  serve: async () => (await import('./serve.ts')).serve,
  gateway: async () => (await import('./gateway.ts')).gateway,
  request: async () => (await import('./request.ts')).request,
  submit: async () => (await import('./submit.ts')).submit,
  result: async () => (await import('./result.ts')).result,
  jobs: async () => (await import('./jobs.ts')).jobs,
  cancel: async () => (await import('./cancel.ts')).cancel,
  status: async () => (await import('./status.ts')).status,
  usage: async () => (await import('./usage.ts')).usage,
  limits: async () => (await import('./limits.ts')).limits,
  budgets: async () => (await import('./budgets.ts')).budgets,
  top: async () => (await import('./top.ts')).top,
  simulate: async () => (await import('./simulate.ts')).simulate,
  record: async () => (await import('./record.ts')).record,
  machines: async () => (await import('./machines.ts')).machines,
  emergency: async () => (await import('./emergency.ts')).emergency,
  health: async () => (await import('./health.ts')).health,
  upstream: async () => (await import('./upstream.ts')).upstream,
  doctor: async () => (await import('./doctor.ts')).doctor,
  provider: async () => (await import('./provider.ts')).provider,
  auth: async () => (await import('./auth.ts')).auth,
}

/** They have more to do than to talk. */
const LASTING = ['up', 'serve', 'gateway', 'record', 'provider']
forgiveReaders(() => LASTING.includes(process.argv[2] ?? ''))

try {
  await (await program(process.argv[2])).parseAsync()
} catch (error) {
  process.exitCode = await statusOf(error)
}

/** With one verb where one is called, else with all of them. */
async function program(called = ''): Promise<Command> {
  const headgate = new Command('headgate')
    .description('A multi-tenant scheduler for Claude API calls over NATS.')
    .version(version)
    .helpCommand('help [command]', 'say all of a command')
    .configureHelp({ sortSubcommands: false })
    // What stands behind a verb of a verb is that one's.
    .enablePositionalOptions()
    .showHelpAfterError('(headgate help COMMAND says all of it)')
    .exitOverride()
  const known = Object.hasOwn(VERBS, called) ? [called] : Object.keys(VERBS)
  for (const name of known) {
    const verb = await VERBS[name]?.()
    if (verb !== undefined) headgate.addCommand(inherit(verb(), headgate))
  }
  return headgate
}

/** `addCommand` copies no settings by itself. */
function inherit(verb: Command, from: Command): Command {
  verb.copyInheritedSettings(from)
  for (const inner of verb.commands) inherit(inner, verb)
  return verb
}

async function statusOf(error: unknown): Promise<number> {
  // It has said what is wrong.
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2
  tell(`headgate: ${messageOf(error)}`)
  if (error instanceof Misuse) return 2
  const { HeadgateError } = await import('#client')
  if (!(error instanceof Failure) && !(error instanceof HeadgateError)) console.error(error)
  if (process.argv.includes('--json')) {
    const { jsonError } = await import('./said-answer.ts')
    jsonError(error instanceof HeadgateError ? error : { message: messageOf(error) })
  }
  return 1
}
