/** The machines in somebody else's hands: `headgate/machines` and its page. */
import { execFile, spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createActor, setup, type ActorRefFrom } from 'xstate'
import * as machines from '#machines/machines'
import { defaultConfig } from '#contracts/config'
import { HeapClock } from '../support/heap-clock.ts'
import { inRoot, read } from '../support/tree.ts'

const { breakerInput, breakerMachine, capOf, lifecycleMachine, limitInput, limitMachine, permits } =
  machines

/** A clock in XState's words, and in ours. */
function heapClock() {
  const heap = new HeapClock()
  const cancels = new Map<number, () => void>()
  let next = 0
  return {
    heap,
    clock: {
      setTimeout(call: (...args: never[]) => void, ms: number) {
        const id = ++next
        cancels.set(id, heap.after(ms, call))
        return id
      },
      clearTimeout: (id: number) => cancels.get(id)?.(),
    },
  }
}

const quick = (random = () => 0.5) => breakerInput({ random, minSamples: 1 })
const failed = { type: 'attempt.failed', generation: 0, tenant: 'acme', at: 1_000 } as const

describe('the list', () => {
  test('is this and no more', () => {
    expect(Object.keys(machines).toSorted()).toEqual([
      'BAND',
      'aimd',
      'breakerInput',
      'breakerMachine',
      'capOf',
      'clearTimers',
      'compile',
      'lifecycleMachine',
      'limitInput',
      'limitMachine',
      'permits',
      'run',
    ])
  })

  test('is what the package calls headgate/machines', () => {
    expect(JSON.parse(read('package.json')).exports['./machines']).toEqual({
      types: './dist/machines/machines.d.ts',
      default: './dist/machines/machines.js',
    })
  })
})

describe('each machine lives without a Headgate', () => {
  test("the breaker, as an actor on its owner's clock", () => {
    const { heap, clock } = heapClock()
    const breaker = createActor(breakerMachine, { input: quick(), clock }).start()
    breaker.send(failed)
    expect(breaker.getSnapshot().value).toBe('open')
    heap.advance(14_999)
    expect(breaker.getSnapshot().value).toBe('open')
    heap.advance(1)
    expect(breaker.getSnapshot().value).toBe('halfOpen')
  })

  test('the limit, as an actor', () => {
    const limit = createActor(limitMachine, { input: limitInput({ at: 0, initial: 20 }) }).start()
    for (let i = 0; i < 4; i++)
      limit.send({ type: 'attempt.throttled', epoch: 0, at: 1_000, inflight: 20 })
    expect(limit.getSnapshot().context.aimd.limit).toBe(14)
  })

  test('the lifecycle, as an actor', () => {
    const request = createActor(lifecycleMachine, { input: { at: 0 } }).start()
    request.send({ type: 'attempt.started', at: 5 })
    request.send({ type: 'request.settled', at: 9 })
    expect(request.getSnapshot()).toMatchObject({ status: 'done', context: { since: 9 } })
  })

  const theirs = setup({
    types: { context: {} as { refs: unknown[] } },
    actors: { breaker: breakerMachine, limit: limitMachine, lifecycle: lifecycleMachine },
  })
  const owners = {
    invoked: theirs.createMachine({
      context: { refs: [] },
      invoke: [
        { id: 'breaker', src: 'breaker', input: () => quick() },
        { id: 'limit', src: 'limit', input: () => limitInput({ at: 0 }) },
        { id: 'lifecycle', src: 'lifecycle', input: { at: 0 } },
      ],
    }),
    spawned: theirs.createMachine({
      context: ({ spawn }) => ({
        refs: [
          spawn('breaker', { id: 'breaker', input: quick() }),
          spawn('limit', { id: 'limit', input: limitInput({ at: 0 }) }),
          spawn('lifecycle', { id: 'lifecycle', input: { at: 0 } }),
        ],
      }),
    }),
  }

  test.for(['invoked', 'spawned'] as const)(
    "all three, %s by a machine of somebody else's, on the clock of that system",
    (how) => {
      const { heap, clock } = heapClock()
      const owner = createActor(owners[how], { clock }).start()
      const { breaker, limit, lifecycle } = owner.getSnapshot().children as {
        breaker: ActorRefFrom<typeof breakerMachine>
        limit: ActorRefFrom<typeof limitMachine>
        lifecycle: ActorRefFrom<typeof lifecycleMachine>
      }
      const heard: string[] = []
      breaker.subscribe(({ value }) => heard.push(value))
      breaker.send(failed)
      heap.advance(15_000)
      expect(heard).toEqual(['open', 'halfOpen'])
      limit.send({ type: 'ramp.limited', at: 1, retryAfterMs: 1 })
      expect(limit.getSnapshot().value).toBe('held')
      lifecycle.send({ type: 'attempt.started', at: 1 })
      expect(lifecycle.getSnapshot().value).toBe('running')
      breaker.send({ type: 'probe.started' })
      expect(heap.pending).toBe(1)
      owner.stop()
      expect(heap.pending).toBe(0)
    },
  )
})

describe('inputs', () => {
  test('have the defaults of the configuration', () => {
    const { breaker, file, routeDefaults } = defaultConfig()
    expect(breakerInput({ random: Math.random })).toEqual({
      settings: breaker,
      random: Math.random,
    })
    expect(limitInput({ at: 7 })).toEqual({
      at: 7,
      settings: {
        mode: file.concurrency_limit.mode,
        initial: routeDefaults.initial,
        floor: routeDefaults.floor,
        ceiling: file.concurrency_limit.ceiling,
        windowMs: file.concurrency_limit.window_seconds * 1_000,
      },
    })
  })

  test('take every setting as it is given', () => {
    const settings = {
      threshold: 0.4,
      windowMs: 10_000,
      minSamples: 7,
      openMs: 12_500,
      probeRatio: 0.05,
    }
    const { random } = Math
    expect(breakerInput({ ...settings, random })).toEqual({ settings, random })
    const limit = { mode: 'classic', initial: 9, floor: 4, ceiling: 50, windowMs: 45_000 } as const
    expect(limitInput({ ...limit, at: 1 })).toEqual({ settings: limit, at: 1 })
    expect(limitInput({ initial: 3, at: 1 }).settings).toMatchObject({ initial: 3, floor: 3 })
  })

  test.for<[what: () => unknown, says: RegExp]>([
    [() => breakerInput({ random: Math.random, openMs: 1_000 }), /^openMs .*>=10/],
    [() => breakerInput({ random: Math.random, windowMs: 7_500 }), /^windowMs .*int/],
    [
      () => breakerInput({ random: Math.random, threshold: 2, probeRatio: 1 }),
      /^threshold .*; probeRatio /,
    ],
    [
      () => limitInput({ at: 0, initial: 500 }),
      /concurrency_limit\.initial: 500 is more than the ceiling, 128/,
    ],
    [() => limitInput({ at: 0, initial: 60, ceiling: 50 }), /60 is more than the ceiling, 50/],
  ])('outside the ranges of the configuration are refused: %o', ([make, says]) => {
    expect(make).toThrow(RangeError)
    expect(make).toThrow(says)
  })
})

describe('permits', () => {
  const started = () => {
    const { heap, clock } = heapClock()
    const breaker = createActor(breakerMachine, { input: quick(), clock }).start()
    const gate = permits(breaker, { limit: () => 30, now: () => heap.now })
    return { heap, breaker, gate }
  }

  test('an outage is waited out, probed, and left in steps', () => {
    const { heap, breaker, gate } = started()
    const taken = (most: number) =>
      Array.from({ length: most }, () => gate.take()).filter((one) => one !== null)
    const survivor = gate.take()
    gate.take()?.ended('failed')
    expect(taken(50)).toEqual([])
    heap.advance(15_000)
    // A tenth of 30, and what survives from before is not among them.
    const probes = taken(50)
    expect(probes).toHaveLength(3)
    expect(breaker.getSnapshot().value).toBe('probing')
    survivor?.ended('failed')
    expect(breaker.getSnapshot().value).toBe('probing')
    for (const probe of probes) probe.ended('ok')
    for (const probe of taken(2)) probe.ended('ok')
    expect(breaker.getSnapshot().value).toBe('ramp')
    for (const allowed of [8, 15, 23]) {
      const all = taken(50)
      expect(all).toHaveLength(allowed)
      for (const one of all) one.ended('ok')
      heap.advance(5_000)
    }
    expect(breaker.getSnapshot().value).toBe('closed')
    expect(taken(50)).toHaveLength(50)
  })

  test('a permit ends once, and a neutral end gives a probe back without a word', () => {
    const { heap, breaker, gate } = started()
    gate.take()?.ended('failed')
    heap.advance(15_000)
    const probes = [gate.take(), gate.take(), gate.take()]
    expect(gate.take()).toBe(null)
    for (let i = 0; i < 5; i++) probes[0]?.ended('neutral')
    expect(breaker.getSnapshot().context).toMatchObject({ probesOk: 0, probesFailed: 0 })
    expect(gate.take()).not.toBe(null)
    expect(gate.take()).toBe(null)
    for (let i = 0; i < 5; i++) probes[1]?.ended('failed')
    expect(breaker.getSnapshot()).toMatchObject({ value: 'probing', context: { probesFailed: 1 } })
  })

  test("one tenant's trouble does not trip a breaker that serves several", () => {
    const { breaker, gate } = started()
    gate.take('modest')?.ended('ok')
    for (let i = 0; i < 10; i++) gate.take('wild')?.ended('failed')
    expect(breaker.getSnapshot().value).toBe('closed')
    gate.take('modest')?.ended('failed')
    expect(breaker.getSnapshot().value).toBe('open')
  })

  test('never are more out than the breaker lets through, whatever happens', () => {
    const command = fc.oneof(
      { weight: 5, arbitrary: fc.constant('take' as const) },
      {
        weight: 4,
        arbitrary: fc.tuple(fc.nat(), fc.constantFrom('ok', 'failed', 'neutral')),
      },
      { weight: 1, arbitrary: fc.integer({ min: 1, max: 20_000 }) },
    )
    const seen = new Set<string>()
    fc.assert(
      fc.property(fc.array(command, { minLength: 50, maxLength: 300 }), (commands) => {
        const { heap, breaker, gate } = started()
        const out: { generation: number; permit: machines.Permit }[] = []
        const ofNow = () => {
          const { generation } = breaker.getSnapshot().context
          return out.filter((one) => one.generation === generation).length
        }
        for (const one of commands) {
          if (one === 'take') {
            const before = breaker.getSnapshot()
            const room = ofNow() < capOf(before, 30)
            const permit = gate.take()
            expect(permit !== null).toBe(room)
            if (permit !== null) out.push({ generation: before.context.generation, permit })
            expect(ofNow()).toBeLessThanOrEqual(capOf(breaker.getSnapshot(), 30))
          } else if (typeof one === 'number') heap.advance(one)
          else if (out.length > 0) {
            const [which, how] = one
            const [ended] = out.splice(which % out.length, 1)
            ended?.permit.ended(how as 'ok' | 'failed' | 'neutral')
          }
          seen.add(breaker.getSnapshot().value)
        }
      }),
      { seed: 7, numRuns: 200 },
    )
    expect([...seen].toSorted()).toEqual(['closed', 'halfOpen', 'open', 'probing', 'ramp'])
  })
})

describe('the page', () => {
  const examples = [
    ...read('machines/README.md').matchAll(/^```ts\n([^]*?)^```\n\n```text\n([^]*?)^```/gm),
  ].map(([, code = '', says = ''], at) => ({ file: `example-${at + 1}.ts`, code, says }))
  let dir = ''

  beforeAll(() => {
    mkdirSync(inRoot('.reports'), { recursive: true })
    // Inside the repository, where `xstate` and `#` names are found, and Node strips types.
    dir = mkdtempSync(inRoot('.reports/machines-page-'))
    for (const { file, code } of examples)
      writeFileSync(join(dir, file), code.replaceAll('headgate/machines', '#machines/machines'))
    const config = { extends: inRoot('tsconfig.json'), include: ['*.ts'] }
    writeFileSync(join(dir, 'tsconfig.json'), JSON.stringify(config))
  })
  afterAll(() => rmSync(dir, { recursive: true, force: true }))

  test('has an example of each machine, all with what they print', () => {
    const blocks = [...read('machines/README.md').matchAll(/^```ts$/gm)]
    expect(examples).toHaveLength(blocks.length)
    for (const name of ['breakerMachine', 'limitMachine', 'lifecycleMachine', 'setup', 'run'])
      expect(examples.some(({ code }) => code.includes(name))).toBe(true)
  })

  test('names the xstate that the package has', () => {
    const { dependencies } = JSON.parse(read('package.json'))
    expect(read('machines/README.md')).toContain(`xstate@${dependencies.xstate}`)
  })

  test('compiles', () => {
    const tsc = inRoot('node_modules/typescript/bin/tsc')
    const run = spawnSync(process.execPath, [tsc, '--noEmit', '-p', dir], { encoding: 'utf8' })
    expect(run.stdout).toBe('')
    expect(run.status).toBe(0)
  })

  test.for(examples)('prints what it says: $file', async ({ file, says }) => {
    const { stdout, stderr } = await promisify(execFile)(process.execPath, [join(dir, file)])
    expect(stderr).toBe('')
    expect(stdout).toBe(says)
  })
})
