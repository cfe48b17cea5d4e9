/** What V8 is told when a program of ours is started. */

const flagsOf = {
  /** A simulation makes and drops many small things; with room for them, few are looked at twice. */
  simulator: ['--max-semi-space-size=64'],
  /** What a call leaves is gone soon: more room for young objects takes memory and saves no time. */
  service: ['--max-semi-space-size=16'],
  /** Old objects are collected when there are half as many again. */
  lessMemory: ['--heap-growing-percent=50'],
} as const

/** What `NODE_OPTIONS` says of the same stands. */
export function v8Flags(
  of: { simulator: boolean; lessMemory: boolean },
  nodeOptions: string | undefined = process.env['NODE_OPTIONS'],
): string[] {
  const flags = [
    ...(of.simulator ? flagsOf.simulator : flagsOf.service),
    ...(of.lessMemory ? flagsOf.lessMemory : []),
  ]
  // V8 takes a name with either sign in it.
  const said = (nodeOptions ?? '').replaceAll('_', '-')
  return flags.filter((flag) => !said.includes(flag.slice(0, flag.indexOf('='))))
}
