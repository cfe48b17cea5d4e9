/** The question who has a call, to all instances, and what each says. */
import { HEADER, ONLY_HOLDER, statusAnswer } from '#contracts/messages'
import { shaped } from './answer.ts'
import { errorIn, isHeadgateError } from './errors.ts'
import { post } from './exchange.ts'
import type { Inside } from './inside.ts'
import type { TransportMessage } from './transport.ts'
import type { Said, WatchedCall } from './watch.ts'

export const askWho =
  (of: Pick<Inside, 'transport' | 'box' | 'tenant' | 'to'>, id: string): WatchedCall['ask'] =>
  ({ hear, refused }) => {
    const subject = of.to.status(of.tenant, id)
    const slot = of.box.open({
      subject,
      beside: true,
      fail: refused,
      on(message) {
        const said = saidIn(message)
        if (said !== null) hear(said)
      },
    })
    const headers = [[HEADER.only, ONLY_HOLDER]] as const
    const posted = post(of.transport, { subject, data: '', headers, reply: slot.address })
    return () => {
      slot.close()
      posted.withdraw()
    }
  }

/** Null: it is no instance's word on the call. */
function saidIn(message: TransportMessage): Said | null {
  if (message.nobody === true) return null
  const who = message.header(HEADER.instance) ?? ''
  const error = errorIn(message)
  if (error !== null)
    return isHeadgateError(error, 'unknown_id') ? { who, has: 'nothing', attempts: 0 } : null
  try {
    const { state, attempts } = shaped(statusAnswer, message)
    return { who, has: state === 'settled' ? 'settled' : 'live', attempts }
  } catch {
    return null
  }
}
