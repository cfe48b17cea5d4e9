/** docs/configuration.md, written from the schema. `node test/support/generate.ts` puts it in place and a
 *  test fails when it is stale. */
import { defaultConfig, EMERGENCY, type LaneConfig } from '#contracts/config'
import { knobs, type Knob } from './knobs.ts'

export function renderConfigurationPage(): string {
  const all = knobs()
  const sections = [...new Set(all.map(sectionOf))]
  return [
    HEAD,
    changeSection(all),
    ...sections.map((section) =>
      renderSection(
        section,
        all.filter((knob) => sectionOf(knob) === section),
      ),
    ),
  ].join('\n')
}

const EMERGENCY_YAML = [
  'llm_gateway:',
  `  timeout_ms: ${EMERGENCY.timeout_ms}`,
  `  max_inflight_global: ${EMERGENCY.max_inflight_global}`,
  `  max_inflight_per_tenant: ${EMERGENCY.max_inflight_per_tenant}`,
  '  retry:',
  `    max_attempts: ${EMERGENCY.retry.max_attempts}`,
  `    base_backoff_ms: ${EMERGENCY.retry.base_backoff_ms}`,
  `    cap_backoff_ms: ${EMERGENCY.retry.cap_backoff_ms}`,
  '    jitter: full',
  '  circuit_breaker:',
  `    error_rate_threshold: ${EMERGENCY.circuit_breaker.error_rate_threshold}`,
  `    open_seconds: ${EMERGENCY.circuit_breaker.open_seconds}`,
  `    half_open_probe_ratio: ${EMERGENCY.circuit_breaker.half_open_probe_ratio}`,
].join('\n')

const HEAD = `# Configuration

<!-- Generated from contracts/config-file.ts by services/platform/config/describe.ts. Do not edit. -->

One YAML file, \`headgate.yaml\`, named with \`--config\` or \`HEADGATE_CONFIG\`. Every knob is optional: an empty
file, or none, runs on the defaults below. An unknown key, a key that stands twice, a value out of range or two
settings that contradict each other stop the start, with line, column, path, value and what is allowed. A changed
file is applied while requests run; a bad one, or one that is empty now, is refused whole and the old one stays in
force.

What wins: \`lanes.<name>\` over \`llm_gateway\` over the defaults, and the emergency switch over all of them.

## The emergency block

To stop the bleeding first and tune later, put this in the file, alone or beside the rest:

\`\`\`yaml
${EMERGENCY_YAML}
\`\`\`

\`headgate emergency on\` does the same at once, on every instance, without touching a file, and then even
\`lanes.<name>\` yields; it outlives a restart, and \`headgate emergency off\` ends it. \`timeout_ms\` is for lanes that
are not preemptible: batch keeps its own.

## Three choices to know

- **Premium's guarantee is lent while idle.** By default premium can always claim 20 of 60 slots back and others
  use them meanwhile. A fixed split, 20 for premium and 40 for everyone else, is \`reserved_slots\`:

  \`\`\`yaml
  lanes:
    premium:
      reserved_slots: 20
  \`\`\`

  It buys premium a free slot at any instant and pays with slots that stand idle.
- **A 429 is quota, a 529 is congestion.** By default only congestion shrinks the concurrency limit, and a 429
  pauses its quota. The plain rule, in which any throttle shrinks the limit and fails the breaker, is:

  \`\`\`yaml
  concurrency_limit:
    mode: classic
  \`\`\`

- **Slot numbers of a lane are parts of \`scheduling.base\`** (60). When the limit stands at 30, a guarantee of 20
  means 10.
`

/** Which knobs are not simply changed, from the schema. */
function changeSection(all: readonly Knob[]): string {
  const that = (takes: Knob['takes']): string[] =>
    all.filter((knob) => knob.takes === takes).map((knob) => `- ${code(knob.path)}`)
  return [
    '## What a change takes',
    '',
    'Every knob is changed by changing the file, and in force at once, but these. They are read at a start, so that a',
    'changed file tells them in the log and they wait for the next one:',
    '',
    ...that('restart'),
    '',
    'These are addresses, or name secrets. A changed file puts them in force at once; a text that an operator sends',
    '([`admin.config`](operations.md#reloading)) may change neither these nor those above, nor name other upstreams,',
    'and is refused whole:',
    '',
    ...that('file'),
    '',
  ].join('\n')
}

function renderSection(section: string, of: readonly Knob[]): string {
  const rows = of.map((knob) => {
    const name = knob.path.slice(section === TOP ? 0 : section.length + 1)
    const said = [...[knob.unit, knob.allowed, knob.why].map(plain), sources(knob.source)]
    return `| ${[code(name), defaultOf(knob), ...said].join(' | ')} |`
  })
  const title = section === TOP ? 'At the top level' : code(section)
  return [
    `## ${title}`,
    '',
    ...(notes[section] ?? []),
    '| knob | default | unit | allowed | why | source |',
    '| --- | --- | --- | --- | --- | --- |',
    ...rows,
    '',
    ...(section === 'lanes.<name>' ? shippedLanes() : []),
  ].join('\n')
}

/** The pages that a knob's source names, as links. */
const PAGES: readonly [name: RegExp, link: string][] = [
  [/\bcontrol-laws\b/, '[laws](control-laws.md)'],
  [/\bwire-contract\b/, '[wire contract](wire-contract.md)'],
  [/\brequirements\b/, '[requirements](requirements.md)'],
  [/^architecture\b/, '[architecture](architecture.md#what-is-guaranteed-told-as-absences)'],
]
const sources = (source: string): string => {
  let linked = plain(source)
  for (const [name, link] of PAGES) linked = linked.replace(name, link)
  return linked
}

const TOP = ''

/** Everything before the last name; a top-level knob has none. */
function sectionOf(knob: Knob): string {
  if (knob.path.startsWith('tenants.'))
    return knob.path.includes('<') ? 'tenants.<name>' : 'tenants'
  const cut = knob.path.lastIndexOf('.')
  return cut < 0 ? TOP : knob.path.slice(0, cut)
}

const notes: Record<string, string[]> = {
  'lanes.<name>': [
    'The shipped lanes stand below; a named one changes or joins them. Absent keys of a new lane: cap',
    '`scheduling.base`, weight 1, no guarantee, not preemptible.',
    '',
  ],
  'tenants.<name>': [
    'The name is the token in the subject. `tenants.default` takes the same keys but `keys`, and holds for',
    'every tenant that is not named.',
    '',
  ],
  'upstreams.<name>': ['Absent: one upstream, named `default`, on the defaults.', ''],
  'routes[]': ['A list. Absent: each model that is asked for gets a route of its own.', ''],
}

function shippedLanes(): string[] {
  const columns: [title: string, of: (lane: LaneConfig) => unknown][] = [
    ['lane', (lane) => code(lane.name)],
    ['weight', (lane) => lane.weight],
    ['guarantee', (lane) => lane.guarantee],
    ['reserved_slots', (lane) => lane.reservedSlots],
    ['cap', (lane) => lane.cap],
    ['preemptible', (lane) => lane.preemptible],
    ['minimum_share', (lane) => lane.minimumShare],
    ['timeout_ms', (lane) => lane.timeoutMs],
    ['max_attempts', (lane) => lane.maxAttempts],
    ['queue_max', (lane) => lane.queueMax],
    ['base_backoff_ms', (lane) => lane.retryBaseMs],
    ['cap_backoff_ms', (lane) => lane.retryCapMs],
    ['last_backoff_ms', (lane) => lane.retryLastMs],
  ]
  const row = (cells: unknown[]): string => `| ${cells.join(' | ')} |`
  return [
    'Shipped lanes:',
    '',
    row(columns.map(([title]) => title)),
    row(columns.map(() => '---')),
    ...defaultConfig().lanes.map((lane) => row(columns.map(([, of]) => String(of(lane))))),
    '',
  ]
}

const code = (text: string): string => `\`${text}\``
/** Text that markdown leaves alone; what is in backticks already is. */
const plain = (text: string): string => text.replaceAll(/[|<*\\]/g, (mark) => `\\${mark}`)

function defaultOf(knob: Knob): string {
  if (knob.required) return 'required'
  if (knob.default === undefined) return 'absent'
  return typeof knob.default === 'string' ? code(knob.default) : code(JSON.stringify(knob.default))
}
