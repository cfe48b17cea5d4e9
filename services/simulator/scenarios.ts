/** The acceptance scenarios of control-laws §17 and those beyond it, as data: who asks, what the provider
 *  gives, what is measured, what must be met. A scenario has one or more parts, each a run of its own. */
import type { Scenario } from './scenario.ts'
import { agents } from './scenarios-agents.ts'
import {
  steady,
  morning,
  swinging,
  churning,
  models,
  draining,
  tokens,
  giants,
} from './scenarios-beyond.ts'
import { S11 } from './scenarios-days.ts'
import { fleet } from './scenarios-fleet.ts'
import { besideBacklog, restarts } from './scenarios-jobs.ts'
import { S10, S2, S3, S4, S5, S6, S7, S8, slow, soft } from './scenarios-laws.ts'
import { overloads } from './scenarios-overload.ts'
import { S1 } from './scenarios-turmoil.ts'

export const SCENARIOS: readonly Scenario[] = [
  S1,
  S2,
  S3,
  S4,
  slow,
  soft,
  S5,
  S6,
  S7,
  S8,
  S10,
  S11,
  steady,
  morning,
  swinging,
  churning,
  models,
  draining,
  tokens,
  giants,
  besideBacklog,
  restarts,
  fleet,
  agents,
  ...overloads,
]

export const scenarioList = (): { name: string; title: string; parameters: string[] }[] =>
  SCENARIOS.map(({ name, title, parameters }) => ({ name, title, parameters: [...parameters] }))

export const scenarioOf = (name: string): Scenario | undefined =>
  SCENARIOS.find((one) => one.name.toLowerCase() === name.toLowerCase())
