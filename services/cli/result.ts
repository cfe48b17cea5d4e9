/** `headgate result`: what came of a durable job. */
import { Command } from 'commander'
import { HeadgateError } from '#client'
import { dialOptions, withHeadgate, type DialFlags } from './dialing.ts'
import { sayAnswer, tellAccounting, tellError } from './said-answer.ts'
import { onStop } from './signals.ts'
import { Failure, Misuse, positiveWhole } from './terminal.ts'
import { whose, whoseArguments, type WhoseFlags } from './whose.ts'

interface ResultFlags extends DialFlags, WhoseFlags {
  wait?: true
  timeout?: number
  json?: true
}

/** The tenant of jobs that were submitted without one. */
const NOBODYS = 'default'

export const result = (): Command =>
  whoseArguments(dialOptions(new Command('result')), 'the id of the job', NOBODYS)
    .summary('print the answer of a durable job')
    .description(
      "Prints a job's answer: its text to stdout, what it took to stderr. Status 1 where it is not there yet, or " +
        'the job ended with an error. Ctrl-C ends the waiting, and the job goes on.',
    )
    .option('--wait', 'until it is there, over restarts of the server and of Headgate')
    .option('--timeout <ms>', 'most milliseconds to wait', positiveWhole)
    .option('--json', "print the upstream's JSON as it is")
    .action(async (names: string[], flags: ResultFlags) => {
      if (flags.timeout !== undefined && flags.wait === undefined)
        throw new Misuse('--timeout: needs --wait')
      process.exitCode = await print(whose(names, flags, NOBODYS), flags)
    })

function print(
  { tenant, id }: { tenant: string; id: string },
  flags: ResultFlags,
): Promise<number> {
  const leaving = new AbortController()
  const deaf = onStop(() => leaving.abort(new Failure('nobody waits any more; the job goes on')))
  const { signal } = leaving
  return withHeadgate({ ...flags, tenant }, async (headgate) => {
    try {
      // Where nobody is there to ask, that is told at once.
      const answer = await headgate.result(id, { signal }).catch((error: unknown) => {
        const pending = error instanceof HeadgateError && error.code === 'pending'
        if (!pending || flags.wait === undefined) throw error
        return headgate.jobs.wait(id, { signal, timeoutMs: flags.timeout })
      })
      sayAnswer(answer, flags)
      tellAccounting(answer.accounting)
      return 0
    } catch (error) {
      if (!(error instanceof HeadgateError)) throw error
      tellError(error, flags)
      return 1
    } finally {
      deaf()
    }
  })
}
