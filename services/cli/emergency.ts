/** `headgate emergency`: the operators' switch. */
import { Argument, Command } from 'commander'
import { OPERATOR_USER } from '#contracts/permissions'
import { dialOptions, withHeadgate, type DialFlags } from './dialing.ts'
import { json, say } from './terminal.ts'

export const emergency = (): Command =>
  dialOptions(new Command('emergency'))
    .summary('turn the emergency block on or off')
    .description(
      "Turns the operators' emergency block on or off, in every instance: 48 slots, 12 for " +
        'each tenant, 3 attempts, timeouts of 8 s. Where the configuration says less, the ' +
        'lower number holds. It outlives a restart (with JetStream).',
    )
    .addArgument(new Argument('<switch>', 'on or off').choices(['on', 'off']))
    .option('--json', 'print the answer as it came')
    .action(async (which: string, flags: DialFlags & { json?: true }) => {
      const answer = (await withHeadgate({ ...flags, tenant: OPERATOR_USER }, (headgate) =>
        headgate.admin('emergency', { on: which === 'on' }),
      )) as {
        emergency: boolean
        durable: boolean
        reason?: string
        obeyed_by?: string[]
      }
      if (flags.json === true) return json(answer)
      say(`the emergency block is ${answer.emergency ? 'on' : 'off'}`)
      const { obeyed_by: by = [] } = answer
      if (by.length > 0)
        say(`  in force on ${by.length} instance${by.length === 1 ? '' : 's'}: ${by.join(', ')}`)
      if (!answer.durable) say(`  it does not outlive a restart: ${answer.reason ?? 'not stored'}`)
    })
