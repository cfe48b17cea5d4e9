/** `headgate doctor --upstream`: what came of one small call to each upstream, in words that an operator can act
 *  on. Neither a key nor what an upstream said is repeated: its words may quote the key. */
import { startProgram } from './program.ts'
import { env, MODEL } from './terminal.ts'
import type { Finding } from './doctor.ts'

/** As `services/scheduler/compose/upstream-check` tells it. */
export interface TrialCall {
  upstream: string
  host: string
  model: string
  routed: boolean
  keyVariable: string
  hasKey: boolean
  kind: string
  cause: string
  status: number | null
  errorType: string | null
  retryAfterMs: number | null
  tookMs: number
}

/** Of a configuration that is valid. Rejects with Misuse where `only` is none of its upstreams. */
export async function checkUpstreams(of: {
  config: string | undefined
  /** Null: all of them. */
  only: string | null
  model: string | null
}): Promise<Finding[]> {
  const { only, model } = of
  const check = startProgram<{ calls: TrialCall[] }>({
    name: 'upstream check',
    args: [JSON.stringify({ only, model, modelElse: MODEL })],
    env: { HEADGATE_CONFIG: of.config },
  })
  try {
    const { calls } = await check.ready
    return calls.map(findingOf)
  } finally {
    await check.ended
  }
}

export function findingOf(call: TrialCall): Finding {
  const { verdict, said, todo } = judge(call)
  const whole = `${call.upstream} at ${call.host}: ${said}`
  return { about: 'upstream', verdict, said: whole, ...(todo === undefined ? {} : { todo }) }
}

type Judgement = Pick<Finding, 'verdict' | 'said' | 'todo'>

function judge(call: TrialCall): Judgement {
  const { cause, kind, model, status, tookMs } = call
  if (kind === 'ok') {
    const key = call.hasKey ? 'the key is good, and ' : 'it asks for no key, and '
    return { verdict: 'ok', said: `${key}${model} answered in ${tookMs} ms` }
  }
  if (kind === 'key_stop') return spent(call)
  if (status === null) return unreached(call)
  return answers(call) ?? broken(`it answers with status ${status} (${cause})`, LOOK_THERE)
}

/** It answered, and the status is the message. */
function answers(call: TrialCall): Judgement | null {
  const { model, retryAfterMs, status } = call
  if (status === 401) return refused(call)
  if (status === 403)
    return broken(
      'the key is known, and may not do this (403)',
      `look at what the key of ${call.keyVariable} may do, and at who answers: a proxy says 403 too`,
    )
  if (status === 404) return missing(call)
  if (status === 429) {
    const wait = retryAfterMs === null ? '' : `; it says to come back in ${shown(retryAfterMs)}`
    const said = `the key is good, and its account is at a limit of its rate now (429)${wait}`
    return { verdict: 'note', said, todo: 'nothing to mend; see who else uses the account' }
  }
  if (status === 529 || status === 503)
    return {
      verdict: 'note',
      said: `it is there, and has no room for ${model} now (${status})`,
      todo: "nothing to mend here; the provider's status page says more",
    }
  if (status !== null && status >= 500)
    return broken(`it fails with ${status}`, "look at the provider's status page, then try again")
  if (status !== null && status >= 300 && status < 400)
    return broken(
      `it sends callers elsewhere (${status})`,
      `make ${whereOf(call)} the address that it sends them to: Headgate follows no redirect`,
    )
  if (status !== null && status >= 400) {
    const type = call.errorType === null ? '' : `, ${call.errorType}`
    const said = `it refuses a call of one token to ${model} (${status}${type})`
    return broken(
      said,
      'try another model with --model; if that too is refused, look who answers there',
    )
  }
  return null
}

function refused({ hasKey, keyVariable }: TrialCall): Judgement {
  if (!hasKey)
    return broken(`it wants a key, and ${keyVariable} is not set (401)`, `export ${keyVariable}`)
  return broken(
    `it refuses the key of ${keyVariable} (401)`,
    'put a key in force that works; a scheduler that runs reads it at its next start',
  )
}

/** A proxy may have no such path, and the API no such model. */
function missing(call: TrialCall): Judgement {
  const { model, routed } = call
  if (call.errorType !== 'not_found_error')
    return broken('there is no Messages API at that address (404)', `correct ${whereOf(call)}`)
  const said = `the key is good, and there is no ${model} for it (404)`
  const todo = routed
    ? `correct routes[].model, or ask the provider for ${model}`
    : 'name a model of yours with --model, or in routes'
  return routed ? broken(said, todo) : { verdict: 'note', said, todo }
}

function spent({ cause, upstream, status }: TrialCall): Judgement {
  const what = SPENT[cause] ?? 'its account may spend no more'
  const todo = `mend that at the provider; headgate upstream ${upstream} then lets a scheduler that runs test it`
  return broken(`${what} (${status})`, todo)
}

const SPENT: Record<string, string> = {
  organization_on_hold: 'its account is on hold',
  credit_exhausted: 'its account has no credit left',
  payment_required: 'its account must be paid first',
}

/** No status line came. */
function unreached(call: TrialCall): Judgement {
  const { cause, host, tookMs } = call
  const where = whereOf(call)
  switch (cause) {
    case 'dns':
      return broken(
        'unreachable: nobody knows that name',
        `correct ${where}, or the DNS of this machine${proxyWord()}`,
      )
    case 'refused':
      return broken(
        `unreachable: nobody listens at ${host}`,
        `correct ${where}, or start what should`,
      )
    case 'tls':
      return broken(
        'unreachable: its certificate is not one that this machine trusts',
        'a proxy between the two? NODE_EXTRA_CA_CERTS names a file with its CA',
      )
    case 'connect_timeout':
      return broken(
        `unreachable: no connection within ${shown(tookMs)}`,
        `look for a firewall or a proxy between the two${proxyWord()}`,
      )
    case 'first_byte':
      return broken(
        `it took the call, and said nothing for ${shown(tookMs)}`,
        "look at the provider's status page and at a proxy between the two",
      )
    case 'unsendable':
      return broken(
        'the call cannot be written',
        `a line break or a strange sign in ${call.keyVariable}? Set it anew`,
      )
    default:
      return broken(`the connection broke (${cause})`, LOOK_THERE)
  }
}

const LOOK_THERE = 'look what stands at that address: a login page or a proxy is no Messages API'

const broken = (said: string, todo: string): Judgement => ({ verdict: 'broken', said, todo })

const whereOf = ({ upstream }: TrialCall): string =>
  env('ANTHROPIC_BASE_URL') === undefined
    ? `upstreams.${upstream}.base_url`
    : `upstreams.${upstream}.base_url, or ANTHROPIC_BASE_URL`

/** Something that people expect, and that is not so. */
const proxyWord = (): string =>
  ['HTTPS_PROXY', 'https_proxy'].some((name) => env(name) !== undefined)
    ? '; HTTPS_PROXY is set, and Headgate does not use it'
    : ''

const shown = (ms: number): string => (ms < 1_000 ? `${ms} ms` : `${Math.round(ms / 1_000)} s`)
