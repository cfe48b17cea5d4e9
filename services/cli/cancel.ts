/** `headgate cancel`: ends a request wherever it is. */
import { Command } from 'commander'
import { asked } from './asked.ts'
import { dialOptions, type DialFlags } from './dialing.ts'
import { json, say, token } from './terminal.ts'

export const cancel = (): Command =>
  dialOptions(new Command('cancel'))
    .summary('cancel a request')
    .description(
      'Cancels a request, whichever instance holds it. Status 1 when there is none to cancel.',
    )
    .argument('<tenant>', 'whose', token)
    .argument('<id>', 'its Headgate-Id', token)
    .option('--json', 'print the answer as it came')
    .action(async (tenant: string, id: string, flags: DialFlags & { json?: true }) => {
      const answer = await asked(flags, 'cancel', { tenant, id })
      if (flags.json === true) json(answer)
      else if (answer.cancelled) say(`cancelled; it was ${answer.state}`)
      else say(answer.reason === 'unknown_id' ? 'nobody knows it' : 'it had ended already')
      process.exitCode = answer.cancelled ? 0 : 1
    })
