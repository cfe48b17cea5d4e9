/** The operators' three questions, in their order (docs/requirements.md R18), answered in a sentence each. Pure. */
import type { Frame } from '#contracts/dashboard'
import type { LaneTrend } from './wait-trend.ts'
import { routeName } from './view.ts'
import { duration, listed, number, percent, plural, shortened } from './words.ts'

export interface Answer {
  text: string
  tone: 'good' | 'warn' | 'bad'
}

/** Is the 429 concentrated in one model or tenant? By rates: whoever makes most calls has most of everything. */
export function whose429(frame: Frame): Answer {
  const { count, routes, tenants } = frame.concentration_429
  const met = isMet(frame, 'ratio_429')
  const rounded = Math.round(count)
  if (rounded === 0) return { text: 'No 429 in the last minutes.', tone: 'good' }
  const tone = met ? 'warn' : 'bad'
  const route = routes.find((one) => isConcentrated(one, OLDER.model) && frame.routes.length > 1)
  const tenant = tenants.find((one) => isConcentrated(one, OLDER.tenant))
  const inModel =
    route === undefined ? '' : `${routeName(frame, route.name)} has ${besideCalls(route)}`
  const inTenant =
    tenant === undefined ? '' : `tenant ${shortened(tenant.name, 28)} has ${besideCalls(tenant)}`
  const all = `(of about ${number(rounded)} 429s)`
  if (inModel !== '' && inTenant !== '')
    return { text: `Yes, in both: ${inModel}; ${inTenant} ${all}.`, tone }
  if (inTenant !== '') return { text: `Yes, in one tenant: ${inTenant} ${all}.`, tone }
  if (inModel !== '')
    return { text: `Yes, in one model: ${inModel} ${all}; spread over tenants.`, tone }
  const over = frame.routes.length > 1 ? 'models and tenants' : 'tenants, of the one model in use'
  return { text: `No: about ${number(rounded)} spread over ${over}, as their calls are.`, tone }
}

type Part = Frame['concentration_429']['tenants'][number]

/** Recordings of an older scheduler do not know of calls: there a large part is all there is to go by. */
const OLDER = { model: 0.7, tenant: 0.5 }
const isConcentrated = (one: Part, from: number): boolean =>
  (one as Partial<Part>).concentrated ?? one.part >= from
const besideCalls = ({ part, ...one }: Part): string => {
  const { of_calls: ofCalls } = one as Partial<Part>
  return ofCalls === undefined
    ? percent(part)
    : `${percent(part)}, with ${percent(ofCalls)} of the calls`
}

/** Is queue wait inflating? */
export function waitInflating(frame: Frame, trends: readonly LaneTrend[]): Answer {
  const met = isMet(frame, 'p95_e2e_ms')
  const rising = trends.filter(({ moves }) => moves === 'rising')
  const stuck = frame.lanes.filter((lane) => {
    const trend = trends.find((one) => one.lane === lane.name)
    return (lane.oldest_ms ?? 0) > STUCK_MS && (lane.oldest_ms ?? 0) > 2 * (trend?.nowMs ?? 0)
  })
  const still = stuck.filter(({ name }) => !rising.some(({ lane }) => lane === name))
  const yes = [
    ...rising.map(risen),
    ...(still.length === 0
      ? []
      : [
          `in ${listed(still.map(({ name }) => name))} somebody has waited ${duration(oldestOf(still))}`,
        ]),
  ]
  if (yes.length > 0 && frame.global.queued === 0)
    return { text: `It did, and nobody waits now: ${listed(yes)}.`, tone: met ? 'good' : 'warn' }
  if (yes.length > 0) return { text: `Yes: ${listed(yes)}.`, tone: met ? 'warn' : 'bad' }
  const falling = trends.filter(({ moves }) => moves === 'falling')
  if (falling.length > 0)
    return {
      text: `No, it falls: ${listed(falling.map(({ lane, nowMs }) => `${lane} ${duration(nowMs)}`))} (P95).`,
      tone: met ? 'good' : 'warn',
    }
  const waits = trends.flatMap(({ nowMs }) => (nowMs === null ? [] : [nowMs]))
  if (waits.length === 0) return { text: 'No: nobody waits.', tone: 'good' }
  return {
    text: `No: at most ${duration(Math.max(...waits))} (P95) in any lane.`,
    tone: met ? 'good' : 'warn',
  }
}
const STUCK_MS = 2_000

const oldestOf = (lanes: Frame['lanes']): number =>
  Math.max(...lanes.map(({ oldest_ms }) => oldest_ms ?? 0))

function risen({ lane, nowMs, beforeMs }: LaneTrend): string {
  const factor = (nowMs ?? 0) / Math.max(1, beforeMs ?? 0)
  const times = factor >= 100 ? '' : `, ${number(Number(factor.toFixed(1)))} times as before`
  return `${lane} waits ${duration(nowMs)} (P95${times})`
}

/** Is retry amplification under control? */
export function retriesControlled(frame: Frame): Answer {
  const found = frame.guardrails.find(({ name }) => name === 'retry_amplification')
  if (found === undefined || found.value === null)
    return { text: 'Yes: nothing has been tried yet.', tone: 'good' }
  const value = `${plural(Number(found.value.toFixed(2)), 'attempt')} per request`
  if (found.met && found.value >= found.bound)
    return { text: `Too early to say: ${value}, of too few requests.`, tone: 'warn' }
  if (!found.met)
    return { text: `No: ${value}, and the budget is ${number(found.bound)}.`, tone: 'bad' }
  // Half of what the budget leaves above one.
  if (found.value > 1 + (found.bound - 1) / 2)
    return { text: `Yes, still: ${value} of ${number(found.bound)} allowed.`, tone: 'warn' }
  return { text: `Yes: ${value}.`, tone: 'good' }
}

const isMet = (frame: Frame, name: string): boolean =>
  frame.guardrails.find((one) => one.name === name)?.met ?? true
