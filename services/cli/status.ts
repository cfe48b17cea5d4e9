/** `headgate status`: where a request stands. */
import { Command } from 'commander'
import { asked } from './asked.ts'
import { dialOptions, type DialFlags } from './dialing.ts'
import { json, say, token } from './terminal.ts'

export const status = (): Command =>
  dialOptions(new Command('status'))
    .summary('say where a request stands')
    .description('Says where a live request stands, or that one ended a short while ago.')
    .argument('<tenant>', 'whose', token)
    .argument('<id>', 'its Headgate-Id', token)
    .option('--json', 'print the answer as it came')
    .action(async (tenant: string, id: string, flags: DialFlags & { json?: true }) => {
      const found = await asked(flags, 'status', { tenant, id })
      if (flags.json === true) return json(found)
      say(`${found.tenant}/${found.id}: ${found.state}, lane ${found.lane}, model ${found.model}`)
      say(`  since ${found.enqueued_at}, attempts ${found.attempts}`)
      if (found.position !== null) say(`  ${found.position} of the same tenant before it`)
      if (found.estimated_wait_ms !== null) say(`  about ${found.estimated_wait_ms} ms to wait`)
      if (found.waits_for != null) say(`  waits: ${found.waits_for.text}`)
    })
