/** deploy/alerts.yml: every rule asks for metrics that there are, in labels that they have, with the bounds of
 *  the configuration; and, where Prometheus's own tool is on the PATH, each fires when it should and not else. */
import { spawnSync } from 'node:child_process'
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { parse, stringify } from 'yaml'
import { configFile, resolve } from '#contracts/config'
import { createMetrics } from '../services/scheduler/observability/metrics.ts'
import { guardrails } from '../services/scheduler/observability/guardrails.ts'
import { manualClock } from './support/manual-clock.ts'
import { inRoot, read } from './support/tree.ts'

interface Rule {
  alert: string
  expr: string
  for?: string
  labels: { severity: string }
  annotations: { summary: string; description: string }
}

const rules: Rule[] = parse(read('deploy/alerts.yml')).groups.flatMap(
  (group: { rules: Rule[] }) => group.rules,
)

const dir = mkdtempSync(join(tmpdir(), 'headgate-alerts-'))
afterAll(() => rmSync(dir, { recursive: true, force: true }))

describe('alert rules', () => {
  test('ask for metrics that there are', async () => {
    const config = resolve(configFile.parse({})).config
    const page = await createMetrics({
      config: () => config,
      snapshot: () => null,
      guardrails: () => guardrails({ settings: config.file.guardrails, lanes: config.lanes }),
      clock: manualClock(),
      version: '1',
    }).page()
    const known = new Set([...page.body.matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name))
    const asked = rules.flatMap(({ expr }) => expr.match(/headgate_\w+/g) ?? [])
    expect(asked.length).toBeGreaterThan(10)
    expect(asked.filter((name) => !known.has(name))).toEqual([])
  })

  test('there is one for each guardrail, with its default as the bound', () => {
    const bounds = configFile.parse({}).guardrails
    for (const name of ['ratio_429', 'p95_e2e_ms', 'retry_amplification'] as const) {
      const [rule, ...more] = rules.filter(({ expr }) => expr.includes(`guardrail_${name}`))
      expect(more).toEqual([])
      expect(rule?.expr).toBe(`headgate_guardrail_${name} > ${bounds[name]}`)
    }
  })

  test('each has a name of its own, says how urgent it is, what it is and what to do', () => {
    expect(new Set(rules.map(({ alert }) => alert)).size).toBe(rules.length)
    for (const { alert, labels, annotations } of rules) {
      expect(alert).toMatch(/^Headgate[A-Z]/)
      expect(['page', 'ticket']).toContain(labels.severity)
      expect(annotations.summary.length).toBeGreaterThan(10)
      expect(annotations.description.length).toBeGreaterThan(20)
    }
    const told = read('docs/operations.md')
    expect(rules.filter(({ alert }) => !told.includes(`\`${alert}\``))).toEqual([])
  })

  test('prometheus loads them from where the compose file mounts them', () => {
    expect(parse(read('deploy/prometheus.yml')).rule_files).toEqual(['alerts.yml'])
    const mounts: string[] = parse(read('docker-compose.yml')).services.prometheus.volumes
    const folder = '/etc/prometheus'
    expect(mounts).toContain(`./deploy/prometheus.yml:${folder}/prometheus.yml:ro`)
    expect(mounts).toContain(`./deploy/alerts.yml:${folder}/alerts.yml:ro`)
  })
})

const AT = 'instance="headgate:8780",job="headgate"'
const one = (name: string, labels = ''): string => `${name}{${AT}${labels}}`
const holds = (condition: string, about = ''): string =>
  one('headgate_condition_seconds', `,condition="${condition}",about="${about}"`)
const ROUTE = ',route="default-claude"'

/** Series of a sample each 5 s; when it fires, and for how long it must not have fired before. */
const CASES: Record<
  string,
  { fires: Record<string, string>; at: string; quiet: Record<string, string>[] }
> = {
  HeadgateDown: { fires: { [one('up')]: '0x20' }, at: '35s', quiet: [{ [one('up')]: '1x20' }] },
  HeadgateGone: { fires: {}, at: '65s', quiet: [{ [one('up')]: '0x30' }] },
  HeadgateNatsLost: {
    fires: { [one('headgate_bus_connected')]: '0x20' },
    at: '20s',
    quiet: [{ [one('headgate_bus_connected')]: '1x20' }],
  },
  HeadgateUpstreamSilent: {
    fires: { [one('headgate_upstream_silent_ms', ROUTE)]: '0 5000+5000x20' },
    at: '20s',
    quiet: [{ [one('headgate_upstream_silent_ms', ROUTE)]: '0x20' }],
  },
  HeadgateUpstreamBlocked: {
    fires: {
      [one('headgate_upstream_blocked', ',upstream="default",reason="key_refused"')]: '1x5',
    },
    at: '5s',
    quiet: [{}],
  },
  HeadgateBreakerOpen: {
    fires: {
      // Open for 15 s, then probed, and so on.
      [one('headgate_circuit_breaker_state', ROUTE)]: '3 3 3 2 3 3 3 2 3 3 3 2 3 3 3 2 3 3 3',
      [one('headgate_requests_total')]: '0+1x30',
    },
    at: '75s',
    quiet: [
      {
        [one('headgate_circuit_breaker_state', ROUTE)]: '2x60',
        [one('headgate_requests_total')]: '7x60',
      },
      {
        [one('headgate_circuit_breaker_state', ROUTE)]: '0x60',
        [one('headgate_requests_total')]: '0+1x60',
      },
    ],
  },
  HeadgateQueueOld: {
    fires: { [one('headgate_queue_oldest_ms', ',lane="interactive"')]: '6000+5000x20' },
    at: '35s',
    quiet: [
      { [one('headgate_queue_oldest_ms', ',lane="batch"')]: '6000+5000x20' },
      { [one('headgate_queue_oldest_ms', ',lane="interactive"')]: '4900x20' },
    ],
  },
  HeadgateBatchOld: {
    fires: { [one('headgate_queue_oldest_ms', ',lane="batch"')]: '3700000+5000x70' },
    at: '6m',
    quiet: [{ [one('headgate_queue_oldest_ms', ',lane="batch"')]: '60000+5000x70' }],
  },
  HeadgateGuardrailRatio429: {
    fires: { [one('headgate_guardrail_ratio_429')]: '0.03x20' },
    at: '65s',
    quiet: [{ [one('headgate_guardrail_ratio_429')]: '0.02x20' }],
  },
  HeadgateGuardrailP95: {
    fires: { [one('headgate_guardrail_p95_e2e_ms')]: '8001x20' },
    at: '65s',
    quiet: [{ [one('headgate_guardrail_p95_e2e_ms')]: '8000x20' }],
  },
  HeadgateGuardrailRetries: {
    fires: { [one('headgate_guardrail_retry_amplification')]: '1.4x20' },
    at: '65s',
    quiet: [{ [one('headgate_guardrail_retry_amplification')]: '1.3x20' }],
  },
  HeadgateSheds: {
    fires: { [one('headgate_degradation_level')]: '3x20' },
    at: '35s',
    quiet: [{ [one('headgate_degradation_level')]: '2x20' }],
  },
  HeadgateJobsStoreLost: {
    fires: { [one('headgate_jobs_store_up')]: '1 0x20' },
    at: '40s',
    quiet: [{ [one('headgate_jobs_store_up')]: '1 0x3 1x20' }, {}],
  },
  HeadgateJobsStoreFull: {
    fires: { [one('headgate_jobs_store_full')]: '1x20' },
    at: '65s',
    quiet: [{ [one('headgate_jobs_store_full')]: '0x20' }],
  },
  HeadgateJobsDead: {
    fires: { [one('headgate_jobs_dead')]: '2x3 3x20' },
    at: '30s',
    // Kept ones, and those that went by age.
    quiet: [{ [one('headgate_jobs_dead')]: '2x20' }, { [one('headgate_jobs_dead')]: '3x3 2x20' }],
  },
  HeadgateJobsOld: {
    fires: {
      [one('headgate_jobs_oldest_ms', ',lane="batch"')]: '43200001+5000x20',
      [one('headgate_jobs_expected_ms', ',lane="batch"')]: '43200000x20',
    },
    at: '70s',
    quiet: [
      {
        [one('headgate_jobs_oldest_ms', ',lane="batch"')]: '5000+5000x20',
        [one('headgate_jobs_expected_ms', ',lane="batch"')]: '43200000x20',
        [one('headgate_jobs_expected_ms', ',lane="premium"')]: '1x20',
      },
    ],
  },
  HeadgateFleetLapsed: {
    fires: { [holds('fleet_lapsed')]: '_x2 0+5x20' },
    at: '50s',
    quiet: [{}, { [holds('fleet_lapsed')]: '0+5x3 stale' }],
  },
  HeadgateFleetSilent: {
    // From two members, of a third.
    fires: {
      [holds('fleet_silent', 'three')]: '13+5x30',
      [holds('fleet_silent', 'three').replace('headgate:8780', 'two:8780')]: '13+5x30',
    },
    at: '70s',
    quiet: [{}, { [holds('fleet_silent', 'three')]: '13+5x6 stale' }],
  },
  HeadgateFleetConfigDiffers: {
    fires: { [holds('fleet_config_differs', 'two')]: '0+5x140' },
    at: '10m30s',
    quiet: [{ [holds('fleet_config_differs', 'two')]: '0+5x100 stale' }],
  },
  HeadgateFleetSuperseded: {
    fires: { [holds('fleet_superseded')]: '0+5x30' },
    at: '70s',
    quiet: [{}],
  },
  HeadgateBudgetLow: {
    // Heard of for a moment.
    fires: { [holds('budget_low', 'acme/day')]: '0 5 stale' },
    at: '60s',
    quiet: [{ [holds('budget_end', 'acme/day')]: '0+5x20' }],
  },
  HeadgateBudgetEnd: {
    fires: { [holds('budget_end', 'acme/day')]: '0 5 stale' },
    at: '60s',
    quiet: [{ [holds('budget_low', 'acme/day')]: '0+5x20' }],
  },
  HeadgateConfigRefused: {
    fires: { [one('headgate_config_refused')]: '0 1x5' },
    at: '10s',
    quiet: [{ [one('headgate_config_refused')]: '0x5' }],
  },
  HeadgateAlarm: {
    fires: { [one('headgate_upstream_alarms_total', ',name="key_stop"')]: '_x2 1x20' },
    at: '30s',
    quiet: [{}],
  },
  HeadgateSwitchForgotten: {
    fires: { [one('headgate_emergency')]: '1x4400' },
    at: '6h1m',
    quiet: [{ [one('headgate_emergency')]: '0x20' }],
  },
}

test('every rule has a case', () => {
  expect(Object.keys(CASES).toSorted()).toEqual(rules.map(({ alert }) => alert).toSorted())
})

test('each fires when it should and not else, as promtool sees it', ({ skip }) => {
  if (spawnSync('promtool', ['--version']).status !== 0) skip('promtool is not on the PATH')
  copyFileSync(inRoot('deploy/alerts.yml'), join(dir, 'alerts.yml'))
  const tests = Object.entries(CASES).flatMap(([alert, { fires, at, quiet }]) => [
    { name: `${alert} fires`, ...caseOf({ alert, series: fires, at, count: 1 }) },
    ...quiet.map((series, i) => ({
      name: `${alert} is quiet (${i})`,
      ...caseOf({ alert, series, at, count: 0 }),
    })),
  ])
  const file = join(dir, 'test.yml')
  writeFileSync(file, stringify({ rule_files: ['alerts.yml'], evaluation_interval: '5s', tests }))
  const run = spawnSync('promtool', ['test', 'rules', file], { encoding: 'utf8' })
  expect(`${run.stdout}${run.stderr}`).not.toContain('FAILED')
  expect(run.status).toBe(0)
}, 180_000)

/** Counts alerts that fire, since their words are Prometheus's to expand. */
function caseOf(of: { alert: string; series: Record<string, string>; at: string; count: number }) {
  const firing = `count(ALERTS{alertname="${of.alert}",alertstate="firing"}) or vector(0)`
  return {
    interval: '5s',
    input_series: Object.entries(of.series).map(([series, values]) => ({ series, values })),
    promql_expr_test: [
      { expr: firing, eval_time: of.at, exp_samples: [{ labels: '{}', value: of.count }] },
    ],
  }
}
