/** Who is served, and by whom: tenants, upstreams, routes. */
import { z } from 'zod'
import { LAWS, WIRE, knob, model, token } from './config-knob.ts'
import { tenantLimitsFile } from './config-money.ts'

const hashedKey = z.string().min(8).max(512)

export const tenantFile = z.strictObject({
  keys: knob(z.array(hashedKey).max(100).default([]), {
    why: 'HTTP keys, as sha256:<hex>; a plain key is accepted with a warning that tells its hash',
    source: `${WIRE}: Configuration`,
    takes: 'file',
  }),
  weight: knob(z.number().min(0.001).max(1_000).default(1), {
    why: 'share against the other tenants of a lane',
    source: `${LAWS} §4`,
  }),
  max_inflight: knob(z.int().min(1).max(10_000).optional(), {
    unit: 'slots',
    why: 'cap of this tenant, always binding',
    source: `${LAWS} §1`,
  }),
  lanes: knob(z.array(token).min(1).optional(), {
    why: 'the lanes it may use; absent: all',
    source: `${WIRE}: Configuration`,
  }),
  batches: knob(z.boolean().default(true), {
    why: "whether its jobs may wait in batches of the provider's, where their route says `batches`",
    source: 'operations: half price',
  }),
  limits: tenantLimitsFile.optional(),
})

export const tenantsFile = z
  .object({
    unknown: knob(z.enum(['default', 'reject']).default('default'), {
      why: 'what a tenant gets that is not named here',
      source: `${WIRE}: Names`,
    }),
    default: tenantFile.omit({ keys: true }).prefault({}),
  })
  .catchall(tenantFile)
  .prefault({})

/** A name and a password in it would be a secret in a file. */
const baseUrl = z
  .url({ protocol: /^https?$/ })
  .refine((address) => !address.includes('@'), {
    error: 'expected an address without a user or password in it',
  })
  .meta({ pattern: '^[^@]*$' })

export const upstreamFile = z.strictObject({
  base_url: knob(baseUrl.default('https://api.anthropic.com'), {
    why: 'where the API answers',
    source: `${WIRE}: Configuration`,
    takes: 'file',
  }),
  api_key_env: knob(
    z
      .string()
      .regex(/^[A-Z_][A-Z0-9_]*$/, { error: 'expected the NAME of an environment variable' })
      .default('ANTHROPIC_API_KEY'),
    {
      why: 'the variable that holds the key; a key never stands in a file',
      source: WIRE,
      takes: 'file',
    },
  ),
  version: knob(
    z
      .string()
      .regex(/^\d{4}-\d\d-\d\d$/)
      .default('2023-06-01'),
    {
      why: 'anthropic-version for callers who send none; this one lets temperature work',
      source: `${WIRE}: A request`,
      takes: 'file',
    },
  ),
})

const rate = (why: string) =>
  knob(z.int().min(1).max(1_000_000_000).optional(), {
    unit: 'per minute',
    why,
    source: `${LAWS} §9`,
  })

export const routeFile = z.strictObject({
  model,
  upstream: token.default('default'),
  fast: knob(z.boolean().default(false), {
    why: 'the route of its calls in fast mode (`speed: fast`), which the provider counts apart; without one they go the way of all calls of the model',
    source: `${LAWS} §23`,
  }),
  quota: knob(token.optional(), {
    why: 'routes of one quota share their token buckets; absent: its own',
    source: `${LAWS} §9`,
  }),
  initial: knob(z.int().min(1).max(10_000).optional(), {
    unit: 'slots',
    why: 'the limit at start; absent: concurrency_limit.initial',
    source: `${LAWS} §8`,
  }),
  floor: knob(z.int().min(1).max(8).optional(), {
    unit: 'slots',
    why: 'the limit never falls below; 4 for minor models; absent: concurrency_limit.floor',
    source: `${LAWS} §8`,
  }),
  rpm: rate('requests'),
  itpm: rate('input tokens, cache reads excluded'),
  otpm: rate('output tokens'),
  fallback: knob(z.array(model).max(8).default([]), {
    why: 'models to try instead, for callers that ask for it',
    source: `${LAWS} §13`,
  }),
  batches: knob(z.boolean().default(false), {
    why: "jobs of the model that can wait may go to the provider's Message Batches API, at half the price",
    source: 'operations: half price',
  }),
})
