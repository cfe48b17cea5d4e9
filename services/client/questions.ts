/** What can be asked beside the calls themselves: of one request or job, of the upstream, of an operator. */
import type { Message, MessageTokensCount } from '@anthropic-ai/sdk/resources/messages'
import { cancelAnswer, DEADLINE_MAX_MS, HEADER, statusAnswer } from '#contracts/messages'
import { isToken, makeId } from '#contracts/ids'
import { answerOf, json, shaped } from './answer.ts'
import { checkToken, encode, ownHeaders } from './call.ts'
import type { Answer, Headgate, ModelList } from './contract.ts'
import { exchange, post } from './exchange.ts'
import { GRACE_MS, type Inside } from './inside.ts'
import { checkNames } from './options.ts'
import type { TransportHeaders } from './transport.ts'

const SHORT_WAIT_MS = 2_000
const AUX_WAIT_MS = 65_000

type UpstreamQuestions = 'aux' | 'batch' | 'countTokens' | 'models'
type Questions = 'result' | 'cancel' | 'status' | 'admin' | UpstreamQuestions

export function questions(inside: Inside): Pick<Headgate, Questions> {
  const { tenant, to } = inside
  const { ask } = exchange(inside)
  const query = (subject: string) => ask({ subject, data: '', waitMs: SHORT_WAIT_MS })
  return {
    async result(id, options = {}) {
      checkNames('result', 'result', options)
      const { waitMs = 0, signal } = options
      checkToken('id', id)
      if (!(waitMs >= 0 && waitMs <= DEADLINE_MAX_MS)) {
        throw new TypeError(`waitMs: expected 0 to ${DEADLINE_MAX_MS}`)
      }
      const message = await ask({
        subject: to.fetch(tenant, id),
        data: '',
        headers: [[HEADER.waitMs, String(Math.ceil(waitMs))]],
        waitMs: waitMs + GRACE_MS,
        signal,
      })
      return answerOf<Message>(message)
    },

    async cancel(id) {
      checkToken('id', id)
      return shaped(cancelAnswer, await query(to.cancel(tenant, id)))
    },

    async status(id) {
      checkToken('id', id)
      return shaped(statusAnswer, await query(to.status(tenant, id)))
    },

    ...upstreamQuestions(inside, ask),

    admin: async (op, body = {}) =>
      json(await ask({ subject: to.admin(op), data: encode(body), waitMs: GRACE_MS })),
  }
}

/** What Headgate asks the upstream for the caller, or answers in the upstream's place. */
function upstreamQuestions(
  inside: Inside,
  ask: ReturnType<typeof exchange>['ask'],
): Pick<Headgate, UpstreamQuestions> {
  const { tenant, to } = inside
  const forget = (id: string) =>
    void post(inside.transport, { subject: to.cancel(tenant, id), data: '' })

  const aux: Headgate['aux'] = async (kind, body = '', options = {}) => {
    checkNames('aux', kind, options)
    const { headers, signal, waitMs } = options
    const given = headers?.[HEADER.id]
    const id = given ?? makeId(() => inside.system.random())
    const own: TransportHeaders = given === undefined ? [[HEADER.id, id]] : []
    const message = await ask({
      subject: to.aux(kind, tenant),
      data: encode(body),
      headers: [...own, ...ownHeaders(headers)],
      waitMs: waitMs ?? AUX_WAIT_MS,
      signal,
      // Nobody should work for who has left.
      left: () => isToken(id) && forget(id),
    })
    return answerOf<unknown>(message)
  }

  return {
    aux,

    async batch(op, data, options = {}) {
      checkNames('aux', 'batch', options)
      const { headers, signal, waitMs } = options
      const message = await ask({
        subject: to.batch(tenant, op),
        data,
        headers: ownHeaders(headers),
        waitMs: waitMs ?? AUX_WAIT_MS,
        signal,
      })
      return message.data
    },

    countTokens: async (params, options) =>
      (await aux('count_tokens', params, options)) as Answer<MessageTokensCount>,

    models: async (options) => (await aux('models', '', options)) as Answer<ModelList>,
  }
}
