/** What the files for a fleet promise: deploy/fleet.yml, deploy/kubernetes, deploy/systemd. No cluster and no container
 *  engine is asked; nats-server, kubectl and systemd-analyze are, where they are there. */
import { spawnSync } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { parse, parseAllDocuments } from 'yaml'
import { configFile, resolve } from '#contracts/config'
import { GATEWAY_PORT, HTTP_PORT } from '../services/cli/default-ports.ts'
import { findNatsServer } from '../services/cli/nats-server.ts'
import { loadConfig } from '../services/platform/config/load.ts'
import { compose } from './support/compose.ts'
import { filesOf, inRoot, present, read } from './support/tree.ts'

const temporary = mkdtempSync(join(tmpdir(), 'headgate-deploy-fleet-'))
afterAll(() => rmSync(temporary, { recursive: true, force: true }))

const DRAIN_MS = configFile.parse({}).drain_ms
const numbers = (text: string): number[] => [...text.matchAll(/\d+/g)].map(Number)

describe('deploy/fleet.yml', () => {
  const { services, volumes } = compose('deploy/fleet.yml')
  const single = compose().services
  const servers = ['nats-1', 'nats-2', 'nats-3']
  const members = ['headgate-1', 'headgate-2']

  test('has three servers and two schedulers, bounded and guarded as the single ones are', () => {
    expect(Object.keys(services)).toEqual(['auth', ...servers, ...members])
    // Where a service stands is its own; what it is and may take is not.
    const own = { build: 0, environment: 0, healthcheck: 0, ports: 0, volumes: 0, depends_on: 0 }
    const same = (name: string, as: string): void =>
      expect({ ...services[name], ...own }).toEqual({ ...single[as], ...own })
    for (const name of servers) same(name, 'nats')
    for (const name of members) same(name, 'headgate')
    same('auth', 'auth')
    for (const name of [...servers, ...members])
      expect(services[name]?.healthcheck?.test).toBeDefined()
  })

  test('publishes every port on 127.0.0.1, each once, and mounts what exists', () => {
    const ports = Object.values(services).flatMap((one) => one.ports ?? [])
    expect(ports.filter((port) => !/^127\.0\.0\.1:\d+:\d+$/.test(port))).toEqual([])
    expect(new Set(ports.map((port) => port.split(':')[1])).size).toBe(ports.length)
    const sources = Object.values(services)
      .flatMap((one) => one.volumes ?? [])
      .map((mount) => mount.split(':')[0] ?? '')
    const missing = sources.filter((from) =>
      from.startsWith('./') ? !present(join('deploy', from)) : !(from in volumes),
    )
    expect(missing).toEqual([])
    const stores = servers.map((name) => services[name]?.volumes?.at(-1))
    expect(stores).toEqual(servers.map((name) => `${name}-data:/data`))
  })

  test('each scheduler knows all servers, waits for all, and has a name that stays', () => {
    for (const name of members) {
      const { environment = {}, depends_on } = services[name]!
      expect(environment['NATS_URL']).toBe(servers.map((one) => `nats://${one}:4222`).join(','))
      expect(environment['HEADGATE_FLEET_MEMBER']).toBe(name)
      expect(Object.keys(depends_on ?? {})).toEqual(servers)
      expect(environment).toHaveProperty('ANTHROPIC_API_KEY', null)
    }
  })

  test('the configuration is the single one’s, on three servers', () => {
    const single = configFile.parse(parse(read('deploy/headgate.yaml')))
    const file = configFile.parse(parse(read('deploy/headgate-fleet.yaml')))
    expect(resolve(file).contradictions).toEqual([])
    expect(file.jobs.replicas).toBe(servers.length)
    expect({ ...file, jobs: null, llm_gateway: null }).toEqual({
      ...single,
      jobs: null,
      llm_gateway: null,
    })
  })

  test('nats-server takes the configuration of each server, and each has its name', async ({
    skip,
  }) => {
    const { program } = await findNatsServer()
    if (program === null) return skip('no nats-server on the PATH or in node_modules')
    const path = 'path' in program ? program.path : join(temporary, 'nats-server')
    if ('bytes' in program) {
      writeFileSync(path, program.bytes)
      chmodSync(path, 0o755)
    }
    mkdirSync(join(temporary, 'auth'))
    const init = ['auth', 'init', '--out', join(temporary, 'auth')]
    expect(spawnSync(process.execPath, [inRoot('services/cli/headgate.ts'), ...init]).status).toBe(
      0,
    )
    const store = `store_dir: "${temporary}/data"`
    const conf = join(temporary, 'nats-server.conf')
    writeFileSync(
      join(temporary, 'nats.conf'),
      read('deploy/nats.conf').replace('store_dir: /data', store),
    )
    writeFileSync(conf, read('deploy/nats-cluster.conf'))
    for (const name of servers) {
      const env = {
        ...process.env,
        NATS_SERVER_NAME: services[name]?.environment?.['NATS_SERVER_NAME'] ?? '',
      }
      const run = spawnSync(path, ['-t', '-c', conf], { encoding: 'utf8', env })
      expect(`${run.stdout}${run.stderr}`).toContain('is valid')
    }
    expect(servers.map((name) => services[name]?.environment)).toEqual(
      servers.map((name) => ({ NATS_SERVER_NAME: name })),
    )
    const routes = /routes: \[(.*)\]/.exec(read('deploy/nats-cluster.conf'))?.[1]?.split(', ')
    expect(routes).toEqual(servers.map((name) => `nats://${name}:6222`))
  })
})

describe('deploy/kubernetes', () => {
  const folder = 'deploy/kubernetes'
  const { resources } = parse(read(`${folder}/kustomization.yaml`)) as { resources: string[] }
  const documents = resources.flatMap((name) =>
    parseAllDocuments(read(`${folder}/${name}`)).map((one) => {
      expect(one.errors).toEqual([])
      return one.toJS()
    }),
  )
  const of = (kind: string, name = 'headgate') =>
    documents.find((one) => one.kind === kind && one.metadata.name === name)
  const set = of('StatefulSet').spec
  const pod = set.template.spec
  const [container] = pod.containers
  const ports = new Map(
    container.ports.map((one: { name: string; containerPort: number }) => [
      one.name,
      one.containerPort,
    ]),
  )
  const labels = set.template.metadata.labels

  test('the kustomization names every file, and every kind that a fleet needs is there', () => {
    const files = filesOf([folder], /\.yaml$/).map((path) => path.slice(folder.length + 1))
    expect(['kustomization.yaml', ...resources].toSorted()).toEqual(files)
    expect(documents.map((one) => one.kind).toSorted()).toEqual([
      ...['ConfigMap', 'HorizontalPodAutoscaler', 'Namespace', 'NetworkPolicy'],
      ...['PodDisruptionBudget', 'Service', 'Service', 'StatefulSet'],
    ])
  })

  test('every selector meets the labels of the pods', () => {
    const terms = pod.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution
    const selectors = [
      ...[set.selector.matchLabels, of('PodDisruptionBudget').spec.selector.matchLabels],
      ...[of('Service').spec.selector, of('Service', 'headgate-members').spec.selector],
      of('NetworkPolicy').spec.podSelector.matchLabels,
      ...terms.map(
        (one: { podAffinityTerm: { labelSelector: { matchLabels: object } } }) =>
          one.podAffinityTerm.labelSelector.matchLabels,
      ),
    ]
    expect(selectors).toHaveLength(7)
    for (const selector of selectors) expect(labels).toMatchObject(selector)
    expect(set.serviceName).toBe('headgate-members')
    expect(of('Service', set.serviceName).spec.clusterIP).toBe('None')
    const { kind, name } = of('HorizontalPodAutoscaler').spec.scaleTargetRef
    expect(of(kind, name)).toBeDefined()
  })

  test('ports are the code’s, and whoever names one names one that there is', () => {
    expect([...ports]).toEqual([
      ['operator', HTTP_PORT],
      ['http-door', GATEWAY_PORT],
    ])
    for (const name of ['headgate', 'headgate-members'])
      for (const one of of('Service', name).spec.ports)
        expect(ports.get(one.targetPort)).toBe(one.port)
    const probes = [container.startupProbe, container.livenessProbe, container.readinessProbe]
    expect(probes.map(({ httpGet }) => [httpGet.path, httpGet.port])).toEqual([
      ['/healthz', 'operator'],
      ['/healthz', 'operator'],
      ['/readyz', 'http-door'],
    ])
    const open = of('NetworkPolicy').spec.ingress
    expect(
      open.map((one: { from?: unknown; ports: { port: string }[] }) => [
        one.ports[0]?.port,
        one.from !== undefined,
      ]),
    ).toEqual([
      ['http-door', false],
      ['operator', true],
    ])
  })

  test('a member has a name that stays, its secrets from a Secret, and time to drain', () => {
    interface Variable {
      name: string
      value?: string
      valueFrom?: { secretKeyRef?: { name: string }; fieldRef?: { fieldPath: string } }
    }
    const variables = new Map<string, Variable>(
      container.env.map((one: Variable) => [one.name, one]),
    )
    expect(variables.get('HEADGATE_FLEET_MEMBER')?.valueFrom?.fieldRef?.fieldPath).toBe(
      'metadata.name',
    )
    const secret = [...variables.values()].filter(({ name }) =>
      /KEY|TOKEN|PASSWORD|SECRET/.test(name),
    )
    expect(secret.map(({ name }) => name)).toEqual([
      'NATS_PASSWORD',
      'ANTHROPIC_API_KEY',
      'HEADGATE_ADMIN_TOKEN',
    ])
    for (const one of secret) expect(one.valueFrom?.secretKeyRef?.name).toBe('headgate')
    expect(variables.get('NATS_URL')?.value?.split(',')).toHaveLength(3)
    expect(pod.terminationGracePeriodSeconds * 1_000).toBeGreaterThan(DRAIN_MS)
    const { name, mountPath } = container.volumeMounts[0]
    expect(`${mountPath}/${Object.keys(of('ConfigMap').data)[0]}`).toBe(
      variables.get('HEADGATE_CONFIG')?.value,
    )
    expect(pod.volumes.find((one: { name: string }) => one.name === name).configMap.name).toBe(
      'headgate',
    )
  })

  test('the configuration is refused as it stands, and with the hash of a key it is whole', () => {
    const text: string = of('ConfigMap').data['headgate.yaml']
    const load = () => loadConfig({ path: null, text, emergency: false })
    expect(load).toThrow(/sha256/)
    const file = configFile.parse(parse(text.replace('PUT-THE-HASH-OF-A-KEY-HERE', '0'.repeat(64))))
    expect(resolve(file).contradictions).toEqual([])
    expect(file.jobs.replicas).toBe(3)
    const memory = numbers(container.resources.limits.memory)[0]! * 1_048_576
    expect(memory).toBeGreaterThan(2 * file.limits.queued_bytes)
  })

  test('it grows by a metric that there is, and never to fewer than two', () => {
    const { minReplicas, maxReplicas, metrics } = of('HorizontalPodAutoscaler').spec
    expect(minReplicas).toBeGreaterThanOrEqual(2)
    expect(maxReplicas).toBeGreaterThan(minReplicas)
    expect(set.replicas).toBeUndefined()
    const [bare] = [metrics[0].pods.metric.name.replace(/^headgate_/, '')]
    expect(read('services/scheduler/observability/gauges.ts')).toContain(`gauge('${bare}'`)
  })

  test('is what kustomize itself takes', ({ skip }) => {
    if (spawnSync('kubectl', ['version', '--client']).status !== 0)
      return skip('no kubectl on the PATH')
    const run = spawnSync('kubectl', ['kustomize', inRoot(folder)], { encoding: 'utf8' })
    expect(run.stderr).toBe('')
    const built = parseAllDocuments(run.stdout).map((one) => one.toJS())
    expect(built).toHaveLength(documents.length)
    const spaces = built
      .filter(({ kind }) => kind !== 'Namespace')
      .map(({ metadata }) => metadata.namespace)
    expect(new Set(spaces)).toEqual(new Set([of('Namespace').metadata.name]))
  })
})

describe('deploy/systemd', () => {
  const text = read('deploy/systemd/headgate@.service')
  const value = (key: string): string | undefined =>
    new RegExp(`^${key}=(.*)$`, 'm').exec(text)?.[1]

  test('lets running requests end, with one signal, and has a name that stays', () => {
    expect(Number(value('TimeoutStopSec')) * 1_000).toBeGreaterThan(DRAIN_MS)
    expect(value('KillMode')).toBe('mixed')
    expect(text).toMatch(/^Environment=HEADGATE_FLEET_MEMBER=\S*%i$/m)
    expect(value('Restart')).toBe('always')
  })

  test('is what systemd itself takes', ({ skip }) => {
    if (spawnSync('systemd-analyze', ['--version']).status !== 0) return skip('no systemd-analyze')
    const unit = join(temporary, 'headgate@.service')
    writeFileSync(unit, text.replace(/^ExecStart=\S+/m, 'ExecStart=/bin/true'))
    const verify = ['verify', join(temporary, 'headgate@1.service')]
    const run = spawnSync('systemd-analyze', verify, { encoding: 'utf8' })
    expect(run.stderr.split('\n').filter((line) => line.includes('headgate@'))).toEqual([])
    expect(run.status).toBe(0)
  })
})
