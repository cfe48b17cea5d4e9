/** `npm run sim -- mutants [--seed N] [--sample N] [--room core|loop|gateway|client] [--at FILE[:LINE]] [--again]`:
 *  small changes of the code, and whether a test notices (docs/mutants.md). Writes the page when every room was asked;
 *  ends with status 1 where a survivor is not explained in mutants.json. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { parseArgs } from 'node:util'
import { format, resolveConfig } from 'prettier'
import { filesOf, inRoot, present, read } from '../support/tree.ts'
import { mayFailAlone, MUTANT_ROOMS, type MutantRoom } from './mutant-rooms.ts'
import { drawn, mutantsOf, nameOf, type Mutant } from './mutant-sample.ts'
import { mutantTree, type MutantTree } from './mutant-tree.ts'
import {
  mutantsText,
  scoreOf,
  unexplained,
  type Explained,
  type Fate,
  type Judged,
} from './mutants-page.ts'

const PAGE = 'docs/mutants.md'
const EXPLAINED = 'test/sim/mutants.json'
/** What was found last, by name. */
const KNOWN = '.reports/mutants.json'
/** A mutant may take so many times what the tests take without one, and no less than this. */
const TIMES = 5
const LIMIT_MIN_MS = 60_000
const TYPES_LIMIT_MS = 600_000
/** For the tests of the unbroken tree. */
const BASE_LIMIT_MS = 1_800_000

export async function mutantsCommand(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      seed: { type: 'string', default: '1' },
      sample: { type: 'string', default: '120' },
      room: { type: 'string' },
      at: { type: 'string' },
      again: { type: 'boolean', default: false },
    },
  })
  const [seed, sample] = [Number(values.seed), Number(values.sample)]
  const rooms = MUTANT_ROOMS.filter(({ name, at }) =>
    values.at !== undefined ? values.at.startsWith(`${at}/`) : name === (values.room ?? name),
  )
  if (rooms.length === 0 || !Number.isInteger(seed) || !(sample >= MUTANT_ROOMS.length)) {
    console.error(
      `mutants: expected --seed and --sample as numbers, --room or --at of ${MUTANT_ROOMS.map(({ name }) => name).join(', ')}`,
    )
    process.exitCode = 2
    return
  }
  const explained = JSON.parse(read(EXPLAINED)) as Explained[]
  const settled = values.again ? settledFates(explained) : new Map<string, Fate>()
  const judged: Judged[] = []
  const places = new Map<string, number>()
  const tree = mutantTree()
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.once(signal, () => {
      tree.remove()
      process.exit(1)
    })
  try {
    for (const room of rooms) {
      const all = sourcesOf(room).flatMap((file) => mutantsOf(file, read(file)))
      places.set(room.name, all.length)
      const chosen =
        values.at === undefined
          ? drawn(all, Math.floor(sample / MUTANT_ROOMS.length), seed)
          : all.filter(({ file, line }) => [file, `${file}:${line}`].includes(values.at!))
      judged.push(...(await judgeRoom(tree, room, chosen, settled)))
    }
    await typeCheck(tree, judged)
  } finally {
    tree.remove()
  }
  tell(judged, explained)
  if (rooms.length < MUTANT_ROOMS.length) return
  const text = mutantsText({ judged, explained, seed, sample, places })
  const settings = await resolveConfig(inRoot(PAGE))
  writeFileSync(inRoot(PAGE), await format(text, { ...settings, parser: 'markdown' }))
}

async function judgeRoom(
  tree: MutantTree,
  room: MutantRoom,
  mutants: readonly Mutant[],
  settled: ReadonlyMap<string, Fate>,
): Promise<Judged[]> {
  const isOpen = (mutant: Mutant) => !settled.has(nameOf(mutant))
  const limits = mutants.some(isOpen) ? await usualTimes(tree, room) : []
  const judged: Judged[] = []
  for (const mutant of mutants) {
    const fate = settled.get(nameOf(mutant)) ?? (await fateOf(tree, mutant, limits))
    judged.push({ room: room.name, mutant, fate })
    remember(mutant, fate)
    const { file, line, was, now } = mutant
    console.log(`${judged.length} of ${mutants.length}: ${fate}: ${file}:${line}: ${was} -> ${now}`)
  }
  return judged
}

const sourcesOf = ({ at, except = [] }: MutantRoom): string[] =>
  filesOf([at], /\.ts$/).filter((file) => !except.includes(file))

interface Stage {
  files: readonly string[]
  limitMs: number
}

/** How long the tests may take, from how long they take. Throws where they fail without any mutant. */
async function usualTimes(tree: MutantTree, room: MutantRoom): Promise<Stage[]> {
  const stages: Stage[] = []
  for (const files of room.tests) {
    const from = performance.now()
    const end = await tree.test(files, BASE_LIMIT_MS)
    if (end !== 'passed')
      throw new Error(`${room.name}: without a mutant ${files.join(' ')} ${end}`)
    const tookMs = performance.now() - from
    console.log(`${room.name}: ${files.join(' ')} in ${Math.round(tookMs / 1_000)} s`)
    stages.push({ files, limitMs: Math.max(LIMIT_MIN_MS, TIMES * tookMs) })
  }
  return stages
}

async function fateOf(tree: MutantTree, mutant: Mutant, stages: readonly Stage[]): Promise<Fate> {
  const { file, source } = mutant
  tree.write(file, source)
  try {
    for (const { files, limitMs } of stages) {
      let end = await tree.test(files, limitMs)
      if (end !== 'passed' && files.some(mayFailAlone)) end = await tree.test(files, limitMs)
      if (end !== 'passed') return end === 'late' ? 'timed out' : 'killed'
    }
    return 'survived'
  } finally {
    tree.write(file, read(file))
  }
}

/** Of the killed nobody needs to know: a test that fails has noticed. The compiler looks at all of it each time, so
 *  it is given one mutant of every file at once. */
async function typeCheck(tree: MutantTree, judged: readonly Judged[]): Promise<void> {
  const survivors = judged.filter(({ fate }) => fate === 'survived')
  const byFile = Map.groupBy(survivors, ({ mutant }) => mutant.file)
  for (;;) {
    const round = [...byFile.values()].flatMap((ones) => ones.splice(0, 1))
    if (round.length === 0) return
    for (const { mutant } of round) tree.write(mutant.file, mutant.source)
    const wrong = await tree.typeErrors(TYPES_LIMIT_MS)
    for (const { mutant } of round) tree.write(mutant.file, read(mutant.file))
    for (const one of round)
      if (wrong.has(one.mutant.file)) {
        one.fate = 'not a program'
        remember(one.mutant, one.fate)
      }
  }
}

function knownFates(): Map<string, Fate> {
  return new Map(present(KNOWN) ? (JSON.parse(read(KNOWN)) as [string, Fate][]) : [])
}

/** What was found before and needs no second look: all but survivors that nobody has explained. */
function settledFates(explained: readonly Explained[]): Map<string, Fate> {
  const names = new Set(explained.map(nameOf))
  return new Map([...knownFates()].filter(([name, fate]) => fate !== 'survived' || names.has(name)))
}

/** At once: it may take hours, and may be ended. */
function remember(mutant: Mutant, fate: Fate): void {
  const all = knownFates()
  all.set(nameOf(mutant), fate)
  mkdirSync(dirname(inRoot(KNOWN)), { recursive: true })
  writeFileSync(inRoot(KNOWN), JSON.stringify([...all], null, 1))
}

function tell(judged: readonly Judged[], explained: readonly Explained[]): void {
  const open = unexplained(judged, explained)
  for (const { mutant } of open) {
    const { file, line, was, now } = mutant
    console.log(`not explained: ${file}:${line}\n- ${was}\n+ ${now}`)
  }
  for (const { file, was } of explained)
    if (!present(file) || !mutantsOf(file, read(file)).some((one) => one.was === was))
      console.log(`${EXPLAINED} tells of what is no more: ${file}: ${was}`)
  const score = (100 * scoreOf(judged)).toFixed(0)
  console.log(`${judged.length} mutants, score ${score} %, ${open.length} survivors not explained`)
  if (open.length > 0) process.exitCode = 1
}
