/** What V8 is told when a program of ours is started. */

const flagsOf = {
  /** A simulation makes and drops many small things; with room for them, few are looked at twice. */
  simulator: ['--max-semi-space-size=64'],
  /** Less room for young objects, and old ones are collected when there are half as many again. */
  lessMemory: ['--max-semi-space-size=16', '--heap-growing-percent=50'],
} as const

/** What `NODE_OPTIONS` says of the same stands. */
export function v8Flags(
  of: { simulator: boolean; lessMemory: boolean },
  nodeOptions: string | undefined = process.env['NODE_OPTIONS'],
): string[] {
  const flags = [
    ...(of.simulator ? flagsOf.simulator : []),
    ...(of.lessMemory ? flagsOf.lessMemory : []),
  ]
  // V8 takes a name with either sign in it.
  const said = (nodeOptions ?? '').replaceAll('_', '-')
  return flags.filter((flag) => !said.includes(flag.slice(0, flag.indexOf('='))))
}
