/** The only file that builds or parses a NATS subject (wire contract, section Names).
 *  Every token given to a builder must already have been checked against `ids`. */
import type { BatchOp } from './batches.ts'
import { TOKEN } from './ids.ts'

/** The contract's version token: fixed, a change of contract is another token. */
const VERSION = 'v1'

export const ADMIN_OPS = [
  'snapshot',
  'config',
  'emergency',
  'lane',
  'upstream',
  'status',
  'cancel',
  'jobs',
  'usage',
  'budgets',
  'drain',
] as const
/** Of a store that all share: one instance answers, whichever. */
export const SHARED_OPS = ['jobs', 'usage', 'budgets'] as const satisfies readonly AdminOp[]
export type AdminOp = (typeof ADMIN_OPS)[number]
export const AUX_KINDS = ['count_tokens', 'models'] as const
export type AuxKind = (typeof AUX_KINDS)[number]

/** Service discovery (ADR-32), which is every service's and so has no prefix of ours. */
export const DISCOVERY = '$SRV.>'
/** Whatever there is. */
export const EVERYTHING = '>'

/** Where somebody hears answers: below `_INBOX_<name>`, which NATS keeps from everybody else. */
export const inbox = (name: string) => {
  const prefix = `_INBOX_${name}`
  return { prefix, every: `${prefix}.>` }
}

export type Subjects = ReturnType<typeof subjects>

export function subjects(prefix: string) {
  const root = `${prefix}.${VERSION}`
  return {
    root,
    request: (tenant: string, lane: string) => `${root}.request.${tenant}.${lane}`,
    submit: (tenant: string, lane: string) => `${root}.submit.${tenant}.${lane}`,
    result: (tenant: string, id: string) => `${root}.result.${tenant}.${id}`,
    fetch: (tenant: string, id: string) => `${root}.fetch.${tenant}.${id}`,
    cancel: (tenant: string, id: string) => `${root}.cancel.${tenant}.${id}`,
    status: (tenant: string, id: string) => `${root}.status.${tenant}.${id}`,
    aux: (kind: AuxKind, tenant: string) => `${root}.${kind}.${tenant}`,
    /** From an HTTP door: what is asked about a tenant's batches. */
    batch: (tenant: string, op: BatchOp | '*') => `${root}.batch.${tenant}.${op}`,
    admin: (op: AdminOp) => `${root}.admin.${op}`,
    requestEvent: (tenant: string, lane: string) => `${root}.event.request.${tenant}.${lane}`,
    jobEvent: (tenant: string, lane: string) => `${root}.event.job.${tenant}.${lane}`,
    controllerEvent: (kind: 'breaker' | 'limit' | 'guardrail' | 'budget', name: string) =>
      `${root}.event.${kind}.${name}`,
    fleetEvent: `${root}.event.fleet`,
    events: `${root}.event.>`,
    /** From one scheduler to the others: what an operator switched. */
    peerSwitch: `${root}.peer.switch`,
    /** And that a tenant has a new job. */
    peerJob: `${root}.peer.job`,
    /** And what it met of the provider that all of a fleet must know. */
    peerFleet: `${root}.peer.fleet`,
    /** Who of a fleet is there. */
    peerHello: `${root}.peer.hello`,
    /** Where durable jobs are kept: written by schedulers only. */
    stored: {
      /** `when`: `now`, or `later` for a job that may not start yet. */
      job: (when: 'now' | 'later' | '*', lane: string, tenant: string, id: string) =>
        `${root}.job.${when}.${lane}.${tenant}.${id}`,
      claim: (tenant: string, id: string) => `${root}.claim.${tenant}.${id}`,
      /** A tenant has, or had, jobs in a lane. */
      flow: (lane: string, tenant: string) => `${root}.flow.${lane}.${tenant}`,
      /** A result; what is stored here is published on `result`. */
      done: (tenant: string, group: string, id: string) => `${root}.done.${tenant}.${group}.${id}`,
      doneAsResult: `${root}.result.{{wildcard(1)}}.{{wildcard(3)}}`,
      dead: (lane: string, tenant: string, id: string) => `${root}.dead.${lane}.${tenant}.${id}`,
      every: {
        job: `${root}.job.>`,
        claim: `${root}.claim.>`,
        flow: `${root}.flow.>`,
        done: `${root}.done.*.*.*`,
        dead: `${root}.dead.>`,
      },
    },
    /** What a scheduler listens to; every tenant, lane and id. */
    every: {
      request: `${root}.request.*.*`,
      submit: `${root}.submit.*.*`,
      cancel: `${root}.cancel.*.*`,
      status: `${root}.status.*.*`,
      fetch: `${root}.fetch.*.*`,
      aux: (kind: AuxKind) => `${root}.${kind}.*`,
      batch: `${root}.batch.*.*`,
      admin: `${root}.admin.*`,
    },
  }
}

/** The two tokens after the kind: tenant and lane, or tenant and id. Null when one is not a token. */
export function twoTokens(of: Subjects, subject: string): { tenant: string; last: string } | null {
  const rest = subject.slice(of.root.length + 1).split('.')
  const [, tenant, last] = rest
  if (rest.length !== 3 || tenant === undefined || last === undefined) return null
  return TOKEN.test(tenant) && TOKEN.test(last) ? { tenant, last } : null
}

/** The one token after the kind: a tenant, or an admin operation. Null when it is not a token. */
export function oneToken(of: Subjects, subject: string): string | null {
  const [, token, ...more] = subject.slice(of.root.length + 1).split('.')
  return token !== undefined && more.length === 0 && TOKEN.test(token) ? token : null
}
