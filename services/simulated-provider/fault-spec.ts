/** Reads a fault spec that somebody typed: what it says, or every reason why it says nothing. */
import { ERROR_TYPES } from './api-error.ts'
import {
  COMMON_KNOBS,
  FAULT_KINDS,
  FAULT_PATHS,
  faultRow,
  type FaultKind,
  type FaultSpec,
} from './faults.ts'
import { isJson } from './order.ts'

interface Rule {
  allowed: string
  ok(value: unknown): boolean
}

const number = (allowed: string, ok: (value: number) => boolean): Rule => ({
  allowed,
  ok: (value) => typeof value === 'number' && ok(value),
})
const atLeast = (least: number, unit: string): Rule =>
  number(`${unit} of at least ${least}`, (value) => value >= least)
const wholeFrom = (least: number, what: string): Rule =>
  number(`${what}, at least ${least}`, (value) => Number.isInteger(value) && value >= least)
const above0 = (unit: string): Rule => number(`${unit} above 0`, (value) => value > 0)
const text: Rule = { allowed: 'a text', ok: (value) => typeof value === 'string' }
const oneOf = (allowed: readonly string[]): Rule => ({
  allowed: `one of ${allowed.join(', ')}`,
  ok: (value) => allowed.some((known) => known === value),
})

const rules: Readonly<Record<keyof FaultSpec, Rule>> = {
  kind: oneOf(FAULT_KINDS),
  forMs: above0('milliseconds'),
  times: wholeFrom(1, 'a whole number of requests'),
  probability: number('a probability from 0 to 1', (value) => value >= 0 && value <= 1),
  model: text,
  path: oneOf(FAULT_PATHS),
  after: wholeFrom(0, 'a whole number of events'),
  status: number(
    'an HTTP status from 400 to 599',
    (v) => Number.isInteger(v) && v >= 400 && v < 600,
  ),
  retryAfter: {
    allowed: 'seconds of at least 0, or null for none',
    ok: (value) => value === null || (typeof value === 'number' && value >= 0),
  },
  waitMs: atLeast(0, 'milliseconds'),
  errorType: oneOf(ERROR_TYPES),
  message: text,
  code: text,
  executed: { allowed: 'true or false', ok: (value) => typeof value === 'boolean' },
  capacity: atLeast(0, 'requests'),
  rpm: above0('requests per minute'),
  itpm: above0('tokens per minute'),
  otpm: above0('tokens per minute'),
}

/** The spec, or what is wrong with it, where, and what is allowed: one sentence each. */
export function readFaultSpec(value: unknown): { spec: FaultSpec } | { problems: string[] } {
  if (!isJson(value)) return { problems: ['fault: expected an object with a kind'] }
  const kind = value.kind
  if (!rules.kind.ok(kind)) {
    return { problems: [`fault.kind: expected ${rules.kind.allowed}; got ${show(kind)}`] }
  }
  const row = faultRow(kind as FaultKind)
  const allowed: readonly string[] = [...COMMON_KNOBS, ...row.takes]
  const problems: string[] = []
  for (const [name, given] of Object.entries(value)) {
    if (!allowed.includes(name)) {
      problems.push(`fault.${name}: not for ${String(kind)}; allowed: ${allowed.join(', ')}`)
      continue
    }
    const rule = rules[name as keyof FaultSpec]
    if (!rule.ok(given))
      problems.push(`fault.${name}: expected ${rule.allowed}; got ${show(given)}`)
  }
  if (kind === 'status' && value.status === undefined) {
    problems.push(`fault.status: expected ${rules.status.allowed}; got nothing`)
  }
  if (kind === 'quota_drop' && !['rpm', 'itpm', 'otpm'].some((name) => name in value)) {
    problems.push('fault: quota_drop needs at least one of rpm, itpm, otpm')
  }
  return problems.length > 0 ? { problems } : { spec: value as unknown as FaultSpec }
}

const show = (value: unknown): string => (JSON.stringify(value) ?? 'nothing').slice(0, 80)
