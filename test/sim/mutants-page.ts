/** docs/mutants.md: how many mutants of each room the tests notice, and why the others live. */
import { nameOf, type Mutant } from './mutant-sample.ts'

export type Fate = 'killed' | 'survived' | 'timed out' | 'not a program'
export interface Judged {
  room: string
  mutant: Mutant
  fate: Fate
}
/** Why no test can notice it, or need. */
export interface Explained {
  file: string
  was: string
  now: string
  why: string
}

export const unexplained = (all: readonly Judged[], explained: readonly Explained[]): Judged[] =>
  all.filter(({ fate, mutant }) => fate === 'survived' && whyOf(mutant, explained) === null)

const whyOf = (mutant: Mutant, explained: readonly Explained[]): string | null =>
  explained.find((one) => nameOf(one) === nameOf(mutant))?.why ?? null

/** Of those that are programs, the part that was noticed. */
export function scoreOf(all: readonly Judged[]): number {
  const programs = all.filter(({ fate }) => fate !== 'not a program')
  const noticed = programs.filter(({ fate }) => fate !== 'survived')
  return noticed.length / programs.length
}

export function mutantsText(of: {
  judged: readonly Judged[]
  explained: readonly Explained[]
  seed: number
  sample: number
  /** Of each room, all that there are. */
  places: ReadonlyMap<string, number>
}): string {
  const { judged, explained, seed, sample, places } = of
  const rows = [...places].map(([room, all]) =>
    rowOf(
      room,
      all,
      judged.filter((one) => one.room === room),
    ),
  )
  const total = [...places.values()].reduce((sum, all) => sum + all, 0)
  const survivors = judged.filter(({ fate }) => fate === 'survived')
  return `# Mutants

A law that no test holds can be broken unseen. So the code is broken on purpose, in one place at a time: a comparison turned, \`&&\` for \`||\`, \`+\` for \`-\`, \`true\` for \`false\`, a number one more or less, a condition negated, a \`??\` with one of its sides, a call or an early return left out. Each such mutant runs against the tests of its room, without those that start processes. A test that fails has killed it; one that does not end in time counts as noticed, too. What the compiler refuses is no program. A survivor is either a law without a test, which is then written, or it is explained below: mostly it does the same as the original.

\`\`\`
npm run sim -- mutants --seed ${seed} --sample ${sample}     # writes this page; hours on a small machine
npm run sim -- mutants --room gateway             # one room, and no page
npm run sim -- mutants --again                    # only what is new, and survivors not explained
npm run sim -- mutants --at services/client/relay.ts:95   # all mutants of a line, or of a file
\`\`\`

Seed ${seed}, ${sample} mutants, as many of each room. Places: where a mutant could be made that is a program by its syntax. Score: killed and timed out, of all that are programs. The survivors of this seed have had their laws written, so its score flatters; one that was never drawn tells more.

| room | places | drawn | killed | timed out | survived | not a program | score |
| --- | --- | --- | --- | --- | --- | --- | --- |
${[...rows, rowOf('all', total, judged)].join('\n')}

## Survivors

${survivors.length === 0 ? 'None.' : survivors.map((one) => survivorText(one, explained)).join('\n\n')}
`
}

function rowOf(room: string, places: number, judged: readonly Judged[]): string {
  const count = (fate: Fate) => judged.filter((one) => one.fate === fate).length
  const score = judged.length === 0 ? '' : `${(100 * scoreOf(judged)).toFixed(0)} %`
  const cells = [
    ...[room, places, judged.length],
    ...[count('killed'), count('timed out'), count('survived'), count('not a program')],
    score,
  ]
  return `| ${cells.join(' | ')} |`
}

function survivorText({ mutant }: Judged, explained: readonly Explained[]): string {
  const { file, line, was, now, operator } = mutant
  const why = whyOf(mutant, explained) ?? '**Not explained.**'
  return `[${file}:${line}](../${file}), ${operator}. ${why}

\`\`\`diff
- ${was}
+ ${now}
\`\`\``
}
