#!/usr/bin/env node
/** The `headgate` command: one verb per file. Exit status 0, 1 (it failed), 2 (called wrong). */
import { Command, CommanderError } from 'commander'
import { HeadgateError } from '#client'
import { cancel } from './cancel.ts'
import { doctor } from './doctor.ts'
import { emergency } from './emergency.ts'
import { provider } from './provider.ts'
import { request } from './request.ts'
import { serve } from './serve.ts'
import { status } from './status.ts'
import { Failure, forgiveReaders, messageOf, Misuse, tell } from './terminal.ts'
import { top } from './top.ts'
import { up } from './up.ts'
import { version } from './version.ts'

const VERBS = [up, serve, request, cancel, status, top, emergency, doctor, provider]

/** They have more to do than to talk. */
const LASTING = ['up', 'serve', 'provider']
forgiveReaders(() => LASTING.includes(process.argv[2] ?? ''))

try {
  await program().parseAsync()
} catch (error) {
  process.exitCode = statusOf(error)
}

function program(): Command {
  const headgate = new Command('headgate')
    .description('A multi-tenant scheduler for Claude API calls over NATS.')
    .version(version)
    .helpCommand('help [command]', 'say all of a command')
    .configureHelp({ sortSubcommands: false })
    .showHelpAfterError('(headgate help COMMAND says all of it)')
    .exitOverride()
  for (const verb of VERBS) headgate.addCommand(inherit(verb(), headgate))
  return headgate
}

/** `addCommand` copies no settings by itself. */
function inherit(verb: Command, from: Command): Command {
  return verb.copyInheritedSettings(from)
}

function statusOf(error: unknown): number {
  // It has said what is wrong.
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2
  tell(`headgate: ${messageOf(error)}`)
  if (error instanceof Misuse) return 2
  if (!(error instanceof Failure || error instanceof HeadgateError)) console.error(error)
  return 1
}
