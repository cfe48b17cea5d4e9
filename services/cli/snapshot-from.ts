/** A snapshot as an instance sent it, which may be of another version than we are. */
import { snapshot as shape, type Snapshot } from '#contracts/snapshot'
import { Failure } from './terminal.ts'
import { version } from './version.ts'

/** Throws a `Failure` that names both versions where it does not fit. */
export function snapshotFrom(sent: unknown): Snapshot {
  const read = shape.safeParse(sent)
  if (read.success) return read.data
  const theirs = (sent as { version?: unknown } | null)?.version
  const whose =
    typeof theirs === 'string' ? `version ${theirs.slice(0, 32)}` : 'no Headgate we know'
  const path = read.error.issues[0]?.path.join('.') ?? ''
  throw new Failure(
    `the instance that answered is ${whose}, and this headgate is ${version}: ` +
      `its snapshot does not fit${path === '' ? '' : ` (at ${path})`}; use the headgate of its version`,
  )
}
