/** A run as the dashboard would have shown it: the same feed, fed with the same events and snapshots, on the
 *  virtual clock, written down frame by frame. The page plays it. */
import { feed } from '#dashboard'
import { watchConditions } from '#scheduler/observability/conditions'
import { guardrails, watchGuardrails } from '#scheduler/observability/guardrails'
import type { Clock, HeadgateEvent, Recorder } from '#ports'
import { quantileWindow } from '#scheduler/observability/quantile-window'
import { snapshotOf } from '#scheduler/compose/snapshot'
import type { Config } from '#contracts/config'
import type { Snapshot } from '#contracts/snapshot'
import type { Loop } from '#scheduler/loop/loop'

export interface Film extends Recorder {
  close(): void
}

/** `write` gets `{hello}` once, then a `{frame}` for each second. */
export function film(of: {
  loop: () => Loop
  config: Config
  clock: Clock
  write: (line: object) => void
}): Film {
  const { clock } = of
  const monitor = guardrails({ settings: of.config.file.guardrails, lanes: of.config.lanes })
  const startedAt = clock.now()
  const snapshot = (): Snapshot =>
    snapshotOf({
      loop: of.loop(),
      guardrails: monitor.readings(clock.now()),
      clock,
      instance: 'simulation',
      version: 'simulated',
      startedAt,
      bus: { kind: 'memory', connected: true },
      conditions: (seen) => conditions.read(seen),
    })
  const conditions = watchConditions({ clock, snapshot })
  const pictures = feed({
    instance: 'simulation',
    version: 'simulated',
    clock,
    snapshot,
    job: null,
    fleet: null,
    machines: () => of.loop().machines(),
    lifecycleCounts: () => of.loop().lifecycleCounts(),
    requests: (asked) => of.loop().requests(asked),
    loads: () => of.loop().state.active,
    quantiles: quantileWindow,
    guardrailWindowMs: () => of.config.file.guardrails.window_seconds * 1_000,
    admin: 'off',
    faults: null,
    onError(error) {
      throw error
    },
  })
  const told: Recorder = { record: (event) => pictures.record(event) }
  const watch = watchGuardrails({ monitor: () => monitor, emit: told, clock })
  let reading = false
  const begin = (): void => {
    reading = true
    pictures.connect({
      ready: () => true,
      send: (bytes) => linesOf(bytes).forEach(of.write),
      end() {},
    })
  }
  return {
    record(event: HeadgateEvent) {
      if (!reading) begin()
      watch.record(event)
      conditions.record(event)
      pictures.record(event)
    },
    close() {
      watch.close()
      conditions.close()
      pictures.close()
    },
  }
}

const decoder = new TextDecoder()

/** Server-sent events as objects: `event: frame` and its data become `{frame: …}`. */
function linesOf(bytes: Uint8Array): object[] {
  return decoder
    .decode(bytes)
    .split('\n\n')
    .flatMap((block) => {
      const name = /^event: (\w+)$/m.exec(block)?.[1]
      const data = /^data: (.*)$/m.exec(block)?.[1]
      return name === undefined || data === undefined
        ? []
        : [{ [name]: JSON.parse(data) as object }]
    })
}
