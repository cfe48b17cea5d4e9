/** The configuration that is in force: what may replace it, and by whom. */
import { resolve, type Config, type ConfigFile } from '#contracts/config'
import { afterStart, changedKnobs, changesThatTake, listed } from '#platform/config/changes'
import { loadConfig, type Loaded } from '#platform/config/load'
import type { Log } from '#platform/log'
import { OperatorError } from '#ports'
import { upstreamsInUse, withAddresses } from './upstreams.ts'

export interface Applied {
  /** The knobs that are different now, by name; empty: none. */
  changed: string
  /** What whoever made the change should know; in the log already. */
  warnings: string[]
}

export class ConfigInForce {
  readonly #log: Log
  /** The environment's word on upstreams. */
  readonly #env: (name: string) => string | undefined
  readonly #enforce: (config: Config) => void
  readonly #started: ConfigFile
  #loaded: Loaded
  #emergency = false

  constructor(of: {
    loaded: Loaded
    log: Log
    env: (name: string) => string | undefined
    enforce: (config: Config) => void
  }) {
    this.#log = of.log
    this.#env = of.env
    this.#enforce = of.enforce
    this.#started = of.loaded.config.file
    this.#loaded = of.loaded
  }

  get emergency(): boolean {
    return this.#emergency
  }

  /** sha256 in hex of each HTTP key, to the tenant that holds it. */
  get keys(): ReadonlyMap<string, string> {
    return this.#loaded.keys
  }

  switchEmergency(on: boolean): void {
    if (on === this.#emergency) return
    this.#emergency = on
    this.#resolve()
    this.#log.warn(on ? 'the emergency block is on' : 'the emergency block is off')
  }

  /** Another file; the emergency switch stays as it is. What is read at a start only is left as it was, and told. */
  apply(next: Loaded): Applied {
    const before = this.#loaded
    const later = changesThatTake('restart', { before: this.#started, after: next.config.file })
    const keyless = before.keys.size > 0 && next.keys.size === 0
    const warnings = [
      ...next.warnings,
      ...(later.length === 0 ? [] : [`${listed(later)}: in force from the next start on`]),
      ...(keyless ? [NO_KEYS] : []),
    ]
    const file = afterStart(this.#started, next.config.file)
    this.#loaded = { ...next, config: { ...next.config, file } }
    this.#resolve()
    for (const warning of warnings) this.#log.warn(warning)
    return { changed: changedKnobs(before.config.file, file), warnings }
  }

  /** A text that an operator sent; throws an `OperatorError` that says what is wrong with it. */
  applyText(yaml: string, by: string): { applied: true; warnings: string[] } {
    let next: Loaded
    try {
      next = loadConfig({ path: null, text: yaml, emergency: this.#emergency })
    } catch (error) {
      throw new OperatorError(error instanceof Error ? error.message : 'unreadable')
    }
    this.#checkReach(next, by)
    const { changed, warnings } = this.apply(next)
    const what = changed === '' ? 'nothing changed' : changed
    this.#log.warn(`a configuration that an operator sent is in force: ${what}`, { from: by })
    return { applied: true, warnings }
  }

  /** For an operator's eyes. */
  show(config: Config): unknown {
    return configInForce(config, this.#env)
  }

  #resolve(): void {
    const { config } = resolve(this.#loaded.config.file, { emergency: this.#emergency })
    this.#enforce(config)
  }

  /** A whole refusal where a text from outside would move what only the file may move. */
  #checkReach(next: Loaded, by: string): void {
    const [before, after] = [this.#loaded.config.file, next.config.file].map((file) =>
      withAddresses(file, this.#env),
    ) as [ConfigFile, ConfigFile]
    const refused = [
      ...told(changesThatTake('file', { before, after }), FILE_ONLY),
      ...told(changesThatTake('restart', { before, after }), RESTART_ONLY),
    ]
    if (refused.length === 0) return
    this.#log.warn(
      'a configuration that an operator sent is refused: it moves what only the file may',
      { from: by },
    )
    throw new OperatorError([...refused, REPEAT].join('\n'))
  }
}

const NO_KEYS = 'the configuration has no HTTP key any more: the HTTP door refuses every caller'
const FILE_ONLY =
  'an address, or the name of a secret; change it in the configuration file, which is read at once'
const RESTART_ONLY = 'read at a start only; change it in the configuration file, then restart'
const REPEAT = 'nothing is applied; a text that repeats what is in force there is taken'

/** More lines than these help nobody. */
const REFUSED_TOLD_MAX = 20

const told = (paths: readonly string[], why: string): string[] => [
  ...paths.slice(0, REFUSED_TOLD_MAX).map((path) => `${path}: ${why}`),
  ...(paths.length > REFUSED_TOLD_MAX ? [`and ${paths.length - REFUSED_TOLD_MAX} more`] : []),
]

/** What runs; of the tenants' keys only how many there are, of an upstream's only whether there is one. */
function configInForce(config: Config, env: (name: string) => string | undefined): unknown {
  const tenants = Object.fromEntries(
    Object.entries(config.file.tenants).map(([name, tenant]) => [
      name,
      typeof tenant === 'object' && 'keys' in tenant
        ? { ...tenant, keys: `${tenant.keys.length} hashed` }
        : tenant,
    ]),
  )
  return {
    emergency: config.emergency,
    file: { ...withAddresses(config.file, env), tenants },
    upstreams: upstreamsInUse(config.file, env),
  }
}
