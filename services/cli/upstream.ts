/** `headgate upstream`: a blocked upstream is tried again now. */
import { Command } from 'commander'
import { OPERATOR_USER } from '#contracts/permissions'
import { dialOptions, withHeadgate, type DialFlags } from './dialing.ts'
import { json, say } from './terminal.ts'

export const upstream = (): Command =>
  dialOptions(new Command('upstream'))
    .summary('try a blocked upstream now')
    .description(
      'A refused key is tested by one call every 15 s, a spending limit every 15 minutes. When you ' +
        'have mended it, this lets the next call test it at once, in every instance.',
    )
    .argument('[name]', 'as upstreams.<name> of the configuration', 'default')
    .option('--json', 'print the answer as it came')
    .action(async (name: string, flags: DialFlags & { json?: true }) => {
      const answer = (await withHeadgate({ ...flags, tenant: OPERATOR_USER }, (headgate) =>
        headgate.admin('upstream', { upstream: name }),
      )) as { upstream: string; testing: boolean }
      if (flags.json === true) return json(answer)
      say(
        answer.testing
          ? `the next call tests upstream ${name}`
          : `upstream ${name} is not blocked: nothing to test`,
      )
    })
