/** `npm run sim`: the report. `npm run sim -- liveness`: random worlds. `npm run sim -- mutants`: broken code.
 *  `npm run sim -- fleet`: instances that divide one limit. */
import { fleetCommand } from './fleet.ts'
import { livenessCommand } from './liveness.ts'
import { mutantsCommand } from './mutants.ts'
import { report } from './report.ts'

const [command, ...args] = process.argv.slice(2)

switch (command) {
  case undefined:
    await report()
    break
  case 'liveness':
    livenessCommand(args)
    break
  case 'fleet':
    await fleetCommand(args)
    break
  case 'mutants':
    await mutantsCommand(args)
    break
  default:
    console.error(
      `npm run sim: no ${command}; there is nothing (the report), liveness, fleet and mutants`,
    )
    process.exitCode = 2
}
