/** What a request will cost, learned from what the ones before it did (control-laws §3).
 *  Running quantiles in constant space; a tenant's own habits once it has shown 20 of them, else its
 *  model's over all tenants, else the configured prior. */
import type { Config } from '#contracts/config'
import { routeKey } from '#contracts/ids'
import type { Millis, Seconds, Tokens } from '#contracts/units'
import { Lately } from './lately.ts'
import { estimateInput, learnInput, untaughtInput, type PromptSize } from './token-estimate.ts'

/** Which of the samples is taken for what is usual: the answer that is longer than most, the first byte that nearly
 *  all come within. */
export const QUANTILE = { length: 0.75, whole: 0.75, ttft: 0.5, ttftHigh: 0.95, speed: 0.5 }
export const GAIN = 0.02
export const MEAN_GAIN = 0.05
/** Samples before a quantile counts as evidence. */
export const EVIDENCE = 20
/** Evidence is of use for so long. */
export const STALE: Millis = 30_000
/** Share of the answers that a service prediction is long enough for: one that ends late has had its slot for
 *  nothing. */
export const SURE = 0.9
/** Bounds of a service prediction against the plain estimate. */
export const OVERRUN = { start: 1.6, min: 1, max: 4 }

/** A running mean that forgets: each sample weighs a twentieth. 0 until there is one. */
export class RunningMean {
  value = 0

  add(sample: number): void {
    this.value = this.value === 0 ? sample : this.value + MEAN_GAIN * (sample - this.value)
  }
}

/** A running p-quantile in O(1). Source: control-laws §3 (a multiplicative Robbins-Monro step).
 *  Tracks a drifting distribution; its error in steady state is about 2 % of the value a step. The first
 *  steps are larger, as 1 / samples, so that one odd beginning is soon forgotten. */
export class RunningQuantile {
  value = 0
  samples = 0
  readonly #p: number

  constructor(p: number) {
    this.#p = p
  }

  /** A sample of which only a lower bound is known; it teaches when that is above the quantile. */
  addAtLeast(bound: number): void {
    if (this.samples > 0 && bound > this.value) this.value *= 1 + GAIN * this.#p
  }

  add(sample: number): void {
    const x = sample > 0 ? sample : 0.001
    if (this.samples === 0) this.value = x
    else
      this.value *=
        1 + Math.max(GAIN, 1 / (this.samples + 1)) * (x > this.value ? this.#p : this.#p - 1)
    this.samples++
  }
}

/** Answer length is kept per power-of-two bucket of max_tokens: a caller who asks for 64 tokens and one
 *  who asks for 64,000 write different answers. */
class Habits {
  readonly ttft = new RunningQuantile(QUANTILE.ttft)
  /** What nearly every first byte has come within. */
  readonly ttftHigh = new RunningQuantile(QUANTILE.ttftHigh)
  readonly speed = new RunningQuantile(QUANTILE.speed)
  /** Tokens over the whole time of answers that showed no first byte: the speed is no lower. */
  readonly pace = new RunningQuantile(QUANTILE.speed)
  /** Share of the input that the provider reads from its cache and does not count. */
  cached = 0
  inputs = 0
  readonly #lengths: (RunningQuantile | undefined)[] = []
  readonly #wholes: (RunningQuantile | undefined)[] = []

  length(bucket: number): RunningQuantile | undefined {
    return this.#lengths[bucket]
  }

  /** How long answers took that showed no first byte. */
  whole(bucket: number): RunningQuantile | undefined {
    return this.#wholes[bucket]
  }

  learn(
    of: {
      duration: Seconds
      ttft: Seconds | null
      outputTokens: Tokens | null
      cachedShare: number | null
    },
    bucket: number,
    /** The time after the first byte; null: nobody knows when that was. */
    writing: Seconds | null,
  ): void {
    if (of.ttft === null)
      (this.#wholes[bucket] ??= new RunningQuantile(QUANTILE.whole)).add(of.duration)
    else {
      this.ttft.add(of.ttft)
      this.ttftHigh.add(of.ttft)
    }
    if (of.cachedShare !== null) {
      this.inputs++
      this.cached += (of.cachedShare - this.cached) / Math.min(EVIDENCE, this.inputs)
    }
    if (of.outputTokens === null) return
    const known = (this.#lengths[bucket] ??= new RunningQuantile(QUANTILE.length))
    known.add(of.outputTokens)
    if (of.outputTokens <= 1) return
    if (writing === null) this.pace.add(of.outputTokens / Math.max(0.001, of.duration))
    else if (writing > 0) this.speed.add(of.outputTokens / writing)
  }
}

const newHabits = (): Habits => new Habits()

class ModelHabits {
  readonly all = new Habits()
  /** Input tokens of a request, on average. */
  readonly size = new RunningMean()
  input = untaughtInput
  readonly byTenant = new Lately<Habits>()
  /** Actual over estimated duration, within the bounds of `OVERRUN`. */
  overrun = OVERRUN.start
  learnedAt: Millis = -Infinity
}

/** What a request is expected to use. */
export interface Expected {
  /** Slot-seconds: time to first token and the time to write the answer. */
  duration: Seconds
  /** Uncached input and cache creation: what the provider counts. */
  inputTokens: Tokens
  outputTokens: Tokens
}

export interface Estimate extends Expected {
  /** It may draw on committed capacity; absent: no. */
  priority?: boolean
  /** False while the estimate rests on priors only. */
  evidence: boolean
  /** Else it rests on what the answers of others took, which may be of another kind. */
  own: boolean
}

/** Of a request what says which answers are like its own. */
export interface Asked {
  tenant: string
  model: string
  /** In fast mode an answer comes at another speed. */
  fast?: boolean
  priority?: boolean
  maxTokens: Tokens
}

const kindOf = (of: { model: string; fast?: boolean }): string =>
  routeKey(of.model, of.fast === true)

export class CostBook {
  readonly #models = new Map<string, ModelHabits>()

  estimate(of: Asked & { stream?: boolean } & PromptSize, config: Config): Estimate {
    const { priors } = config.file
    const model = this.#models.get(kindOf(of))
    if (model === undefined) {
      const inputTokens = estimateInput(of, untaughtInput)
      const outputTokens = Math.min(priors.output_tokens, of.maxTokens)
      const duration = priors.ttft_ms / 1_000 + outputTokens / priors.tokens_per_s
      const priority = of.priority === true
      return { duration, inputTokens, outputTokens, evidence: false, own: false, priority }
    }
    const own = model.byTenant.get(of.tenant)
    const bucket = bucketOf(of.maxTokens)
    const ttft = first(own?.ttft, model.all.ttft)
    const speed = first(own?.speed, model.all.speed)
    const length = first(own?.length(bucket), model.all.length(bucket))
    const outputTokens = Math.min(length?.value ?? priors.output_tokens, of.maxTokens)
    const whole = first(own?.whole(bucket), model.all.whole(bucket))
    const written =
      (ttft?.value ?? priors.ttft_ms / 1_000) + outputTokens / (speed?.value ?? priors.tokens_per_s)
    const direct = whole !== undefined && (of.stream !== true || speed === undefined)
    const input = estimateInput(of, model.input)
    const habits = own !== undefined && own.inputs >= EVIDENCE ? own : model.all
    const cached = habits.inputs >= EVIDENCE ? habits.cached : 0
    // What decides how long it takes: all of an answer's time, or its length.
    const deciding = direct ? whole : length
    return {
      duration: direct ? whole.value : written,
      inputTokens: input * (1 - cached),
      outputTokens,
      priority: of.priority === true,
      // How long an answer of this size is, and how fast it comes: a guess of either is no evidence.
      evidence: direct || (speed !== undefined && length !== undefined),
      own:
        deciding !== undefined && deciding === (direct ? own?.whole(bucket) : own?.length(bucket)),
    }
  }

  /** The longest that an answer may take to start, before calling it a hang: `max_tokens` at the
   *  learned speed, for answers whose first byte is their last. */
  longest(of: Asked, config: Config): Seconds {
    const { priors } = config.file
    const model = this.#models.get(kindOf(of))
    const own = model?.byTenant.get(of.tenant)
    const ttft = first(own?.ttft, model?.all.ttft)?.value ?? priors.ttft_ms / 1_000
    const speed = first(own?.speed, model?.all.speed) ?? first(own?.pace, model?.all.pace)
    return ttft + of.maxTokens / (speed?.value ?? priors.tokens_per_s)
  }

  /** Within how long the first byte of a streamed answer comes nearly always; a prompt larger than usual may
   *  take longer by as much as it is larger. Null: no evidence. */
  usualFirstByte(of: Omit<Asked, 'maxTokens'>, inputTokens: Tokens): Seconds | null {
    const model = this.#models.get(kindOf(of))
    if (model === undefined) return null
    const own = model.byTenant.get(of.tenant)
    const known = first(own?.ttftHigh, model.all.ttftHigh)
    if (known === undefined) return null
    const larger = model.size.value === 0 ? 1 : inputTokens / model.size.value
    return Math.max(known.value, model.all.ttftHigh.value) * Math.max(1, larger)
  }

  /** How long an attempt will hold its slot in 90 of 100 cases; 0 without evidence, or when no answer has
   *  come for a while: nothing is refused on a guess, and a guess that refuses everything teaches nothing. */
  service(of: { model: string; fast?: boolean }, estimate: Estimate, now: Millis): Seconds {
    const habits = this.#models.get(kindOf(of))
    if (!estimate.evidence || habits === undefined || now - habits.learnedAt > STALE) return 0
    return estimate.duration * habits.overrun
  }

  /** What a complete answer taught. `ttft` is null for an attempt that was not streamed. */
  learn(
    of: Asked & PromptSize,
    sample: {
      duration: Seconds
      ttft: Seconds | null
      outputTokens: Tokens | null
      /** All of it: uncached, cache creation and cache read; null when not counted. */
      inputTokens: Tokens | null
      /** Share of it that was read from the cache; null when not counted. */
      cachedShare: number | null
      estimated: Seconds
    },
    config: Config,
    now: Millis,
  ): void {
    const model = this.#model(kindOf(of))
    model.learnedAt = now
    if (sample.inputTokens !== null) {
      model.size.add(sample.inputTokens * (1 - (sample.cachedShare ?? 0)))
      model.input = learnInput(of, sample.inputTokens, model.input)
    }
    const own = model.byTenant.use(of.tenant, config.file.scheduling.learned_max, newHabits)
    if (sample.estimated > 0) {
      const ratio = Math.max(0.001, sample.duration / sample.estimated)
      model.overrun *= 1 + GAIN * (ratio > model.overrun ? SURE : SURE - 1)
      model.overrun = Math.min(OVERRUN.max, Math.max(OVERRUN.min, model.overrun))
    }
    const began = sample.ttft ?? first(own.ttft, model.all.ttft)?.value ?? null
    const writing = began === null ? null : sample.duration - began
    const bucket = bucketOf(of.maxTokens)
    own.learn(sample, bucket, writing)
    model.all.learn(sample, bucket, writing)
  }

  /** An attempt that was ended before its time, after so long: it would have taken longer still. Without
   *  these, only answers short enough to be in time would teach, and predictions would come out short. */
  learnAtLeast(of: Asked, sample: { duration: Seconds; estimated: Seconds }): void {
    const model = this.#models.get(kindOf(of))
    if (model === undefined || sample.estimated <= 0) return
    if (sample.duration / sample.estimated > model.overrun)
      model.overrun = Math.min(OVERRUN.max, model.overrun * (1 + GAIN * SURE))
    const bucket = bucketOf(of.maxTokens)
    for (const habits of [model.byTenant.get(of.tenant), model.all]) {
      habits?.whole(bucket)?.addAtLeast(sample.duration)
      if (habits === undefined || habits.speed.samples === 0) continue
      const writing = Math.max(0, sample.duration - habits.ttft.value)
      habits.length(bucket)?.addAtLeast(writing * habits.speed.value)
    }
  }

  #model(name: string): ModelHabits {
    let model = this.#models.get(name)
    if (model === undefined) this.#models.set(name, (model = new ModelHabits()))
    return model
  }

  forgetModel(name: string): void {
    this.#models.delete(name)
  }
}

/** The first quantile with evidence. */
function first(
  own: RunningQuantile | undefined,
  all: RunningQuantile | undefined,
): RunningQuantile | undefined {
  if (own !== undefined && own.samples >= EVIDENCE) return own
  return all !== undefined && all.samples >= EVIDENCE ? all : undefined
}

const bucketOf = (maxTokens: Tokens): number => 31 - Math.clz32(Math.max(1, maxTokens))

/** Seconds of the bottleneck that one attempt takes: the largest of its shares of slots, input tokens
 *  and output tokens. A dimension that is not paced has rate null and drops out. The same denominators
 *  price the estimate and the actual. */
export interface Denominators {
  slots: number
  inputPerSecond: number | null
  outputPerSecond: number | null
}

export function costOf(
  used: { duration: Seconds; inputTokens: Tokens; outputTokens: Tokens },
  by: Denominators,
): Seconds {
  let cost = used.duration / Math.max(1, by.slots)
  if (by.inputPerSecond !== null) cost = Math.max(cost, used.inputTokens / by.inputPerSecond)
  if (by.outputPerSecond !== null) cost = Math.max(cost, used.outputTokens / by.outputPerSecond)
  return cost
}
