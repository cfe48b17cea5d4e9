/** A prompt, an upstream's message and a key, planted everywhere they could come in: no log line, event,
 *  metric or page shows any of them. */
import { expect, test } from 'vitest'
import { eventData } from '#contracts/events'
import { defaultConfig } from '#contracts/config'
import { subjects } from '#contracts/subjects'
import { memoryBus } from '../../../services/scheduler/memory/bus.ts'
import { loadConfig } from '../../../services/platform/config/load.ts'
import { guardrails } from '../../../services/scheduler/observability/guardrails.ts'
import { createLog } from '../../../services/platform/log.ts'
import { logRecorder } from '../../../services/scheduler/observability/event-lines.ts'
import { createMetrics } from '../../../services/scheduler/observability/metrics.ts'
import { publishEvents, recording } from '../../../services/scheduler/observability/record.ts'
import { startHttp } from '../../../services/scheduler/http/server.ts'
import { manualClock } from '../../support/manual-clock.ts'
import { event, EVENT_NAMES } from './events.ts'
import { noUsage } from '../../support/no-usage.ts'

const PROMPT = 'PLANTED the patient has a rare disease'
const KEY = 'sk-ant-PLANTED-key'

test('what is planted never comes out', async () => {
  const clock = manualClock()
  const seen: string[] = []
  const config = defaultConfig()
  const watch = guardrails({ settings: config.file.guardrails, lanes: config.lanes })
  const metrics = createMetrics({
    config: () => config,
    snapshot: () => null,
    guardrails: () => watch,
    clock,
    version: '0',
  })
  const bus = memoryBus()
  bus.subscribe('llm.v1.event.>', (message) => {
    seen.push(Buffer.from(message.data).toString(), message.header('ce-subject') ?? '')
  })
  const log = createLog({ level: 'debug', clock, to: { write: (line) => seen.push(line) } })
  const sinks = [
    logRecorder(log),
    metrics,
    publishEvents({ bus, subjects: subjects('llm'), instance: 'one', clock }),
  ]
  const recorder = recording({ buffer: 1_000, sinks })

  const loaded = loadConfig({
    path: null,
    text: `tenants:\n  acme:\n    keys: ["${KEY}"]\n`,
    emergency: false,
  })
  for (const warning of loaded.warnings) log.warn(warning)
  seen.push(JSON.stringify(loaded.config.file))
  for (const name of EVENT_NAMES) {
    const given = event(name)
    // The upstream's own word, and all that a careless caller might add to an event.
    if ('error_type' in given.data) Object.assign(given.data, { error_type: PROMPT })
    expect(Object.keys(given.data).toSorted()).toEqual(
      Object.keys(eventData[name].shape).toSorted(),
    )
    recorder.record(given)
  }
  await bus.flush()

  const server = await startHttp({
    host: '127.0.0.1',
    port: 0,
    operator: {
      snapshot: () => ({ events: recorder.recent() }),
      config: () => Promise.resolve(null),
      emergency: () => Promise.resolve(null),
      lane: () => Promise.resolve(null),
      status: async () => null,
      cancel: async () => null,
      jobs: async () => null,
      budgets: () => Promise.resolve({ budgets: [], more: false }),
      usage: noUsage,
      upstream: () => Promise.resolve(null),
      drain: () => Promise.resolve(null),
    },
    recorder,
    metrics,
    ready: () => ({}),
    adminToken: KEY,
    clock,
  })
  for (const path of ['/', '/metrics', '/api/snapshot', `/api/${encodeURIComponent(PROMPT)}`])
    seen.push(await (await fetch(server.url + path)).text())
  const stream = await fetch(`${server.url}/api/events`)
  await server.close()
  seen.push(await stream.text())

  expect(seen.length).toBeGreaterThan(20)
  expect(seen.join('\n')).not.toContain('PLANTED')
})
