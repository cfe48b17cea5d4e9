/** Budgets over several instances, whatever the store, the answers and the instances do: nobody is over its budget by
 *  more than what calls in flight used beyond what was expected of them, and what is there can be used. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Account } from '#core/model/account'
import { giveBack } from '#core/laws/accounts'
import { memoryBudgetStore } from '#scheduler/memory/budget-store'
import { Allowances, IDLE, LOOK_AGAIN } from '#scheduler/money/allowances'
import type { BudgetStore } from '#ports'
import { CoreWorld, verdictOf } from '../../support/core-world.ts'
import { manualClock } from '../../support/manual-clock.ts'

/** More than the last call is expected to use. */
const NEED = 400
const RUNS = Number(process.env['HEADGATE_RUNS'] ?? 200)

/** A store that fails when told, and loses races to nobody but other instances. */
interface ShakyStore extends BudgetStore {
  away: boolean
  lost: boolean
  /** Of the budget, by all. */
  drawn(): Promise<number>
}

function shakyStore(): ShakyStore {
  const real = memoryBudgetStore()
  const store: ShakyStore = {
    away: false,
    /** A write was not answered: what it would have put back stays drawn. */
    lost: false,
    ...({
      read: (key) => (store.away ? Promise.reject(new Error('away')) : real.read(key)),
      write(key, text, over) {
        if (!store.away) return real.write(key, text, over)
        store.lost = true
        return Promise.reject(new Error('away'))
      },
      keys: () => real.keys(),
      close: () => Promise.resolve(),
    } satisfies BudgetStore),
    async drawn() {
      const found = await real.read('acme.day.tokens')
      return found === null ? 0 : (JSON.parse(found.text) as { drawn: number }).drawn
    },
  }
  return store
}

class Instance {
  readonly world: CoreWorld
  readonly allowances: Allowances
  readonly clock = manualClock({ wall: Date.parse('2026-11-30T06:00:00Z') })
  /** Units expected of each call in flight. */
  readonly expected = new Map<string, number>()
  #seen = 0
  #made = 0

  constructor(most: number, store: BudgetStore) {
    const tenants = { acme: { limits: { budget: { day: { tokens: most } } } } }
    this.world = new CoreWorld({ tenants }, { check: false })
    this.allowances = new Allowances({
      store,
      clock: this.clock,
      grant: (of) => this.act(() => this.world.input({ type: 'allowance', ...of })),
      takeBack: giveBack,
      tell: () => {},
    })
  }

  /** Does it, and hands on what the core asked for. */
  act(what: () => void): void {
    what()
    for (const effect of this.world.effects.slice(this.#seen)) {
      this.#seen++
      if (effect.type === 'start-attempt')
        this.expected.set(
          effect.request.key,
          effect.attempt.paid!.inputTokens + effect.attempt.paid!.outputTokens,
        )
      if (effect.type === 'allowance-wanted')
        this.allowances.wanted(effect.account as Account, effect.allowance, effect.short)
    }
  }

  submit(bytes: number): string {
    const id = `r${this.#made++}`
    this.act(() => this.world.submit({ tenant: 'acme', id, bytes, maxTokens: 100 }))
    return `acme/${id}`
  }

  end(key: string, used: number): void {
    this.expected.delete(key)
    const usage = { inputTokens: used, outputTokens: 0, cacheCreationTokens: 0, cacheReadTokens: 0 }
    this.act(() => this.world.end(key, verdictOf('ok', { usage })))
  }

  pass(ms: number): void {
    this.act(() => this.world.advance(ms))
    this.clock.advance(ms)
  }

  /** What became of a call. */
  told(key: string): 'started' | 'refused' | 'waits' {
    if (this.expected.has(key)) return 'started'
    const refused = this.world.effects.some((e) => e.type === 'refused' && e.key === key)
    return refused || this.world.outcomes.has(key) ? 'refused' : 'waits'
  }

  get debt(): number {
    const [allowance] = this.world.state.accounts.get('acme')?.allowances ?? []
    return Math.max(0, -(allowance?.left ?? 0))
  }
}

/** What is asked of a store is answered. */
const settled = async (): Promise<void> => {
  for (let i = 0; i < 60; i++) await Promise.resolve()
}

const act = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constant('submit' as const),
      at: fc.nat(2),
      bytes: fc.integer({ min: 10, max: 4_000 }),
    }),
  },
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constant('end' as const),
      at: fc.nat(2),
      part: fc.double({ min: 0, max: 3, noNaN: true }),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('pass' as const),
      ms: fc.integer({ min: 1, max: 15_000 }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('kill' as const),
      at: fc.nat(2),
      used: fc.double({ min: 0, max: 3, noNaN: true }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('away' as const), away: fc.boolean() }) },
)

test('over instances that die and a store that goes away', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 500, max: 50_000 }),
      fc.array(act, { minLength: 10, maxLength: 80 }),
      async (most, acts) => {
        const store = shakyStore()
        const made = (): Instance => new Instance(most, store)
        const all = [made(), made(), made()]
        let used = 0
        let beyond = 0
        /** All of it is drawn: what calls use from here on beyond what was expected is beyond the budget. */
        let ended = false
        let killed = false
        for (const one of acts) {
          let more = 0
          if (one.do === 'pass') for (const each of all) each.pass(one.ms)
          else if (one.do === 'away') store.away = one.away
          else {
            const instance = all[one.at]!
            if (one.do === 'submit') instance.submit(one.bytes)
            else if (one.do === 'end') {
              const [first] = instance.expected
              if (first !== undefined) {
                const units = Math.round(first[1] * one.part)
                used += units
                more = Math.max(0, units - first[1])
                instance.end(first[0], units)
              }
            } else {
              killed = true
              for (const expected of instance.expected.values()) {
                used += expected * one.used
                more += Math.max(0, expected * one.used - expected)
              }
              all[one.at] = made()
            }
          }
          await settled()
          ended ||= (await store.drawn()) > most - 1
          // What the store could not be told, or nobody was left to tell it, is beyond it too.
          if (ended || store.away || one.do === 'kill') beyond += more
        }
        store.away = false
        const endAll = async (): Promise<void> => {
          for (const instance of all) {
            for (const [key, expected] of [...instance.expected]) {
              used += Math.floor(expected)
              instance.end(key, Math.floor(expected))
            }
            await settled()
          }
        }
        await endAll()
        expect(used).toBeLessThanOrEqual(most + beyond + 1)
        if (killed || store.lost) return
        // What lies idle goes back, and a refusal says the truth.
        for (let ms = 0; ms < 2 * IDLE + 2 * LOOK_AGAIN; ms += 1_000) {
          for (const instance of all) instance.pass(1_000)
          await endAll()
        }
        const last = all[0]!
        const key = last.submit(10)
        for (let i = 0; i < 3; i++) {
          await settled()
          last.pass(1_000)
        }
        expect(last.told(key)).toMatch(most - used > NEED ? /^started$/ : /^(started|refused)$/)
      },
    ),
    { numRuns: RUNS },
  )
})
