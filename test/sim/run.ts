/** `npm run sim`: the report. `npm run sim -- liveness`: random worlds. */
import { livenessCommand } from './liveness.ts'
import { report } from './report.ts'

const [command, ...args] = process.argv.slice(2)

switch (command) {
  case undefined:
    await report()
    break
  case 'liveness':
    livenessCommand(args)
    break
  default:
    console.error(`npm run sim: no ${command}; there is nothing (the report) and liveness`)
    process.exitCode = 2
}
