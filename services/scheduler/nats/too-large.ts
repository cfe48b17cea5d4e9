/** An answer that the bus can no longer carry, as an error that it can: with the accounting of the answer. */
import { errorBody, HEADER, refusal } from '#contracts/messages'
import type { BusHeaders } from '#ports'

interface Answer {
  subject: string
  data: Uint8Array
  headers?: BusHeaders
}

/** Null: it is no answer but an event of a stream, whose loss shows by its count. */
export function tooLarge({ subject, headers = [] }: Answer, why: string): Answer | null {
  const valueOf = (name: string) => headers.find(([own]) => own === name)?.[1]
  if (valueOf(HEADER.outcome) === undefined) return null
  const said = refusal('upstream_error', `the answer cannot be sent: ${why}`, {
    status: 502,
    type: 'api_error',
  })
  const body = errorBody({
    refusal: said,
    requestId: valueOf(HEADER.requestId) ?? valueOf(HEADER.id) ?? '-',
    attempts: Number(valueOf(HEADER.attempts) ?? 0),
  })
  const own: BusHeaders = headers.filter(
    ([name]) => name !== HEADER.outcome && name !== HEADER.errorCode && name !== HEADER.error,
  )
  return {
    subject,
    data: new TextEncoder().encode(body),
    headers: [
      [HEADER.errorCode, String(said.status)],
      [HEADER.error, `${said.code}: the answer is larger than the bus carries now`],
      [HEADER.outcome, 'failed'],
      ...own,
    ],
  }
}
