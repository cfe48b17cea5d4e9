/** What `npm run sim` runs, and `npm test` in a shortened form. */
import type { TraceJob } from '#simulator/job'

export const SEEDS = [1, 2, 3] as const
export const TRACE = '../shared/traces/azure-llm-2023-conv.csv'
export const TRACE_SEEDS = [1, 2, 3, 4, 5, 6, 7, 8] as const

export interface Case {
  name: string
  /** Where the name alone does not tell. */
  label?: string
  job: {
    name: string
    part: number
    load: number | null
    reserved: number | null
    noise: number | null
  }
}

const one = (name: string, of: { load?: number; reserved?: number; noise?: number } = {}): Case => {
  const [parameter] = Object.entries(of)
  return {
    name,
    ...(parameter === undefined ? {} : { label: `${name}, ${parameter.join(' ')}` }),
    job: {
      name,
      part: 1,
      load: of.load ?? null,
      reserved: of.reserved ?? null,
      noise: of.noise ?? null,
    },
  }
}

export const CASES: readonly Case[] = [
  one('S1'),
  one('S2', { load: 0.6 }),
  one('S2', { load: 0.7 }),
  one('S2', { load: 0.8 }),
  one('S3'),
  one('S4'),
  one('S5'),
  one('S6'),
  one('S7', { reserved: 0 }),
  one('S7', { reserved: 4 }),
  one('S7', { reserved: 8 }),
  one('S7', { reserved: 12 }),
  one('S7', { reserved: 20 }),
  one('S8'),
  one('S10', { noise: 0.002 }),
  one('S10', { noise: 0.01 }),
  one('S10', { noise: 0.03 }),
  one('S11'),
  one('steady'),
  one('morning'),
  one('swinging'),
  one('churn'),
  one('models'),
  one('drain'),
  one('tokens'),
  one('giants'),
  one('backlog'),
  one('restarts'),
  one('fleet'),
  one('agents'),
  one('slow'),
  one('soft'),
  one('overload'),
  one('overload-from-20'),
  one('overload-from-120'),
  one('overload-16'),
  one('overload-200'),
  one('overload-slow'),
  one('overload-soft'),
  one('overload-let-in'),
]

const trace = (scale: number, storm: TraceJob['storm']): Omit<TraceJob, 'path'> => ({
  kind: 'trace',
  scale,
  capacity: 60,
  tenants: 200,
  lanes: [
    { name: 'premium', share: 0.2 },
    { name: 'interactive', share: 0.5 },
    { name: 'batch', share: 0.3 },
  ],
  forS: null,
  storm,
})

export const TRACE_CASES: readonly { name: string; what: Omit<TraceJob, 'path'> }[] = [
  { name: 'At twice its speed (load 0.7)', what: trace(2, null) },
  { name: 'At three times its speed (load 1.05)', what: trace(3, null) },
  {
    name: 'At twice its speed, with a storm of two minutes (12 slots)',
    what: trace(2, { fromS: 600, forS: 120 }),
  },
]
