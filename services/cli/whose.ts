/** Whose request or job, and which: `<tenant> <id>`, or `<id>` alone with `--tenant`. */
import type { Command } from 'commander'
import { Misuse, token } from './terminal.ts'

export interface WhoseFlags {
  tenant?: string
}

/** What a command with these takes first are the names that `whose` reads. */
export const whoseArguments = (command: Command, what: string, otherwise?: string): Command =>
  command
    .usage('[options] [tenant] <id>')
    .argument('<names...>', `whose, and ${what}`, (text: string, before: string[] = []) => [
      ...before,
      token(text),
    ])
    .option(
      '--tenant <tenant>',
      `whose, where only the id is named${otherwise === undefined ? '' : ` (default: "${otherwise}")`}`,
      token,
    )

/** `otherwise`: whose it is where nobody says it; absent: that must be said. */
export function whose(
  names: readonly string[],
  { tenant }: WhoseFlags,
  otherwise?: string,
): { tenant: string; id: string } {
  const [first = '', second, ...more] = names
  if (more.length > 0) throw new Misuse(`expected [tenant] <id>, not ${names.length} names`)
  if (second === undefined) {
    const said = tenant ?? otherwise
    if (said === undefined)
      throw new Misuse(
        `expected [tenant] <id>, and there is only ${first}: --tenant says whose it is`,
      )
    return { tenant: said, id: first }
  }
  if (tenant !== undefined)
    throw new Misuse(`--tenant: ${first} ${second} says whose it is; leave one of them out`)
  return { tenant: first, id: second }
}
