/** `headgate cancel`: ends a request wherever it is. */
import { Command } from 'commander'
import { asked } from './asked.ts'
import { dialOptions, type DialFlags } from './dialing.ts'
import { json, say } from './terminal.ts'
import { whose, whoseArguments, type WhoseFlags } from './whose.ts'

export const cancel = (): Command =>
  whoseArguments(dialOptions(new Command('cancel')), 'its Headgate-Id')
    .summary('cancel a request')
    .description(
      'Cancels a request, whichever instance holds it. Status 1 when there is none to cancel.',
    )
    .option('--json', 'print the answer as it came')
    .action(async (names: string[], flags: DialFlags & WhoseFlags & { json?: true }) => {
      const answer = await asked(flags, 'cancel', whose(names, flags))
      if (flags.json === true) json(answer)
      else if (answer.cancelled) say(`cancelled; it was ${answer.state}`)
      else say(answer.reason === 'unknown_id' ? 'nobody knows it' : 'it had ended already')
      process.exitCode = answer.cancelled ? 0 : 1
    })
