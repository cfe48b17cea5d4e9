/** What JetStream answers instead of doing what was asked, as a store's own errors. */
import { JobStoreError } from '#ports'

/** JetStream's own code for a write that expected another message before it. */
export const WRONG_LAST = 10_071
export const FULL_CODES: ReadonlySet<number> = new Set([10_023, 10_047, 10_077, 10_122, 10_123])
export const TOO_LARGE_CODE = 10_054
/** No message of that sequence: it was deleted before, or there never was one. */
export const GONE_CODES: ReadonlySet<number> = new Set([10_037, 10_043, 10_057])

export interface PublishAnswer {
  seq: number
  error?: { code: number; err_code: number; description: string }
}

export const problemOf = ({
  err_code,
  description,
}: NonNullable<PublishAnswer['error']>): JobStoreError => {
  if (err_code === TOO_LARGE_CODE) return new JobStoreError('too_large', description)
  return new JobStoreError(FULL_CODES.has(err_code) ? 'full' : 'away', `JetStream: ${description}`)
}

/** Nobody listens where a stream should: it is not there. */
export const isMissing = (error: unknown): boolean =>
  error instanceof Error &&
  /no ?responders|stream not found/i.test(`${error.name} ${error.message} ${String(error.cause)}`)

export function storeError(error: unknown): JobStoreError {
  if (error instanceof JobStoreError) return error
  if (!(error instanceof Error)) return new JobStoreError('away', 'no reason given')
  if (/max_payload|size exceeded/i.test(error.message))
    return new JobStoreError('too_large', error.message, { cause: error })
  return new JobStoreError(
    'away',
    isMissing(error) ? 'no JetStream, or not its streams' : error.message,
    {
      cause: error,
    },
  )
}
