/** `headgate status`: where a request stands. */
import { Command } from 'commander'
import { asked } from './asked.ts'
import { dialOptions, type DialFlags } from './dialing.ts'
import { json, say } from './terminal.ts'
import { whose, whoseArguments, type WhoseFlags } from './whose.ts'

export const status = (): Command =>
  whoseArguments(dialOptions(new Command('status')), 'its Headgate-Id')
    .summary('say where a request stands')
    .description('Says where a live request stands, or that one ended a short while ago.')
    .option('--json', 'print the answer as it came')
    .action(async (names: string[], flags: DialFlags & WhoseFlags & { json?: true }) => {
      const found = await asked(flags, 'status', whose(names, flags))
      if (flags.json === true) return json(found)
      say(`${found.tenant}/${found.id}: ${found.state}, lane ${found.lane}, model ${found.model}`)
      say(`  since ${found.enqueued_at}, attempts ${found.attempts}`)
      if (found.position !== null) say(`  ${found.position} of the same tenant before it`)
      if (found.estimated_wait_ms !== null) say(`  about ${found.estimated_wait_ms} ms to wait`)
      if (found.waits_for != null) say(`  waits: ${found.waits_for.text}`)
    })
