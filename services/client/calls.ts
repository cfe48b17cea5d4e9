/** The four ways to have a Messages call made. */
import type { Message } from '@anthropic-ai/sdk/resources/messages'
import { jobReceipt } from '#contracts/messages'
import { answerOf, shaped } from './answer.ts'
import { openAsking } from './asking.ts'
import { checkStream, encode, isRaw, prepareCall, type PreparedCall } from './call.ts'
import { readAccounting } from './accounting.ts'
import type { Headgate, RawBody } from './contract.ts'
import { clientError, isHeadgateError } from './errors.ts'
import { exchange, openOnce, post, type Ears, type Line } from './exchange.ts'
import { GRACE_MS, type Inside } from './inside.ts'
import { openStream, SILENCE_MS } from './open-stream.ts'
import { questions } from './questions.ts'
import { openRelay } from './relay.ts'
import { askWho } from './whereabouts.ts'

/** For the answer of a call that says no deadline; as often Headgate is asked whether it still has it. */
const WAIT_MS = 600_000
/** The shipped lanes whose own deadline is later, ms. A configuration may say another: nobody can know that here,
 *  and Headgate, asked, says whether the call is there. */
const LANE_WAIT_MS: Readonly<Record<string, number>> = { batch: 86_400_000 }
/** For a receipt: a job is checked and stored, nothing more. */
const SUBMIT_WAIT_MS = 10_000

const laneWaitMs = (lane: string): number => LANE_WAIT_MS[lane] ?? WAIT_MS

/** While Headgate has it, or does not say and its lane's time is not over. */
const stillThereBy =
  (status: Headgate['status']) =>
  async ({ lane, id }: { lane: string; id: string }, waitedMs: number): Promise<boolean> => {
    try {
      return (await status(id)).state !== 'settled'
    } catch (error) {
      return !isHeadgateError(error, 'unknown_id') && waitedMs < laneWaitMs(lane)
    }
  }

export function calls(inside: Inside): Pick<Headgate, 'request' | 'stream' | 'relay' | 'submit'> {
  const { transport, tenant, to, waitMs } = inside
  const { ask } = exchange(inside)
  const { status } = questions(inside)
  const stillThere = stillThereBy(status)
  const forget = (id: string) => void post(transport, { subject: to.cancel(tenant, id), data: '' })
  const opens = openings(inside, forget)

  return {
    async request(body, options = {}) {
      const call = prepareCall('request', options, inside)
      checkStream('request', body)
      const ownWaitMs = options.deadlineMs ?? waitMs
      const subject = to.request(tenant, call.lane)
      const data = encode(body)
      const message = await ask({
        ...{ subject, data, open: opens(call, { subject, data }) },
        ...(ownWaitMs === undefined
          ? { waitMs: WAIT_MS, goOn: (waitedMs: number) => stillThere(call, waitedMs) }
          : { waitMs: ownWaitMs + GRACE_MS }),
        signal: options.signal,
        left: () => forget(call.id),
      })
      if (readAccounting(message).outcome === null) {
        forget(call.id)
        throw clientError('bad_answer', 'the body asks for a stream: use stream()')
      }
      return answerOf<Message>(message)
    },

    stream(body, options = {}) {
      const call = prepareCall('stream', options, inside)
      checkStream('stream', body)
      const subject = to.request(tenant, call.lane)
      const data = isRaw(body) ? body : encode({ ...body, stream: true })
      return openStream({
        ...inside,
        ...{ id: call.id, subject, open: opens(call, { subject, data }) },
        signal: options.signal,
        forget: () => forget(call.id),
      })
    },

    relay(body, sink, options = {}) {
      const call = prepareCall('relay', options, inside)
      const subject = to.request(tenant, call.lane)
      const { laneMs = null } = options
      return openRelay({
        ...inside,
        ...{ id: call.id, subject, open: opens(call, { subject, data: body, laneMs }) },
        sink,
        waitMs: (options.deadlineMs ?? waitMs ?? laneWaitMs(call.lane)) + GRACE_MS,
        endWithinMs: options.endWithinMs ?? null,
        silenceMs: inside.silenceMs ?? SILENCE_MS,
        forget: () => forget(call.id),
      })
    },

    submit: submitBy(inside, { ask, opens, forget }),
  }
}

interface Asked {
  subject: string
  data: RawBody
  laneMs?: number | null
  /** What is stored outlives who stored it. */
  job?: true
}

/** How a call is asked: again, too, where somebody else may serve it. */
const openings =
  (inside: Inside, forget: (id: string) => void) =>
  (call: PreparedCall, of: Asked) =>
  (ears: Ears): Line => {
    const { watch } = inside
    const { id, headers, again } = call
    if (watch === null) return openOnce({ ...inside, ...of, headers }, ears)
    const asking = {
      ...{ headers, again, laneMs: null, ...of },
      watched: of.job === true ? null : { watch, ask: askWho(inside, id) },
      forget: () => forget(id),
    }
    return openAsking({ ...inside, ...asking }, ears)
  }

const submitBy =
  (
    inside: Inside,
    {
      ask,
      opens,
      forget,
    }: {
      ask: ReturnType<typeof exchange>['ask']
      opens: ReturnType<typeof openings>
      forget: (id: string) => void
    },
  ): Headgate['submit'] =>
  async (body, options = {}) => {
    const call = prepareCall('submit', options, inside)
    checkStream('submit', body)
    const subject = inside.to.submit(inside.tenant, call.lane)
    const data = encode(body)
    const message = await ask({
      ...{ subject, data, open: opens(call, { subject, data, job: true }) },
      waitMs: SUBMIT_WAIT_MS,
      signal: options.signal,
      // Who hears no receipt in time may submit the same again, and so it stays.
      left: (why) => why === 'aborted' && forget(call.id),
      nobody: `nobody listens to ${subject}: no Headgate runs there, or none that keeps durable jobs`,
    })
    return shaped(jobReceipt, message)
  }
