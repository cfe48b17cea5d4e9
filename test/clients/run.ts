/** Foreign clients in front of Headgate.
 *
 *      npm run clients                     measures all of them and writes docs/clients.md
 *      npm run clients -- --check          measures with short waits, and fails where something got worse
 *      npm run clients -- --install        only makes ready what they need
 *      … --client python --case abort      some of them only */
import { writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { pages, rendered } from '../support/generate.ts'
import { inRoot } from '../support/tree.ts'
import { CASE_NAMES, type CaseName } from './cases.ts'
import { runCell, STILL_ASKING, type Cell } from './cell.ts'
import { CLIENT_IDS, clientOf, versionOf, type Client, type ClientId } from './clients.ts'
import { sources, type Install, type SourceId } from './installs.ts'
import { better, readTable, worse, writeTable, type Kept, type Table } from './measured.ts'

const AT_ONCE = 2
/** A client that asks again and again may take minutes to say no; whoever only checks does not wait for it. */
const PATIENCE_MS = { measure: 600_000, check: 40_000 }
/** The others fail in the same way as one of these. */
const CHECKED = new Set<CaseName>(['plain', 'streamed', 'tools', 'abort', 'overloaded', 'deadline'])
const INSTALL_MS = { measure: 600_000, check: 150_000 }

interface Wish {
  check: boolean
  /** Nothing is measured. */
  install: boolean
  clients: readonly ClientId[]
  cases: readonly CaseName[]
  /** No cell begins after it, on the clock of `performance.now`. */
  until: number
}

interface Done {
  id: ClientId
  name: CaseName
  cell: Cell
}

process.exitCode = await main()

async function main(): Promise<number> {
  const before = readTable()
  const wish = wished(before)
  if (wish.install) return installAll(wish)
  const all = await allCells(wish, before)
  if (!wish.check) return 0
  const found = all.map(({ id, name, cell }) =>
    compared(`${id} ${name}`, cell, before[id]?.cells[name]),
  )
  const bad = found.filter((one) => one.worse !== null)
  const good = found.filter((one) => one.better !== null)
  for (const one of bad) console.log(`WORSE ${one.of}: ${one.worse}`)
  for (const one of good)
    console.log(`note  ${one.of}: ${one.better}; npm run clients writes it down`)
  console.log(`clients: ${found.length} cells, ${bad.length} worse than docs/clients.md says`)
  return bad.length === 0 ? 0 : 1
}

/** A client that multiplies is not waited for: as far as it came, it may not have asked more often. */
function compared(of: string, now: Cell, then: Kept | undefined) {
  const unfinished = now.wrong === STILL_ASKING && then !== undefined && then.ms > PATIENCE_MS.check
  if (unfinished && now.calls <= then.calls) return { of, worse: null, better: null }
  return { of, worse: worse(now, then), better: better(now, then) }
}

function wished(before: Table): Wish {
  const { values } = parseArgs({
    options: {
      check: { type: 'boolean', default: false },
      install: { type: 'boolean', default: false },
      client: { type: 'string', multiple: true },
      case: { type: 'string', multiple: true },
      within: { type: 'string', default: '7200' },
    },
  })
  const some = <Name extends string>(of: readonly Name[], named: string[] | undefined): Name[] => {
    const unknown = named?.find((one) => !of.some((known) => known === one))
    if (unknown !== undefined) throw new RangeError(`${unknown}: unknown; known: ${of.join(', ')}`)
    return of.filter((one) => named?.includes(one) ?? true)
  }
  const clients = some(CLIENT_IDS, values.client)
  const cases = some(CASE_NAMES, values.case)
  const { check, install } = values
  return {
    check,
    install,
    // What was never measured cannot be worse.
    clients: check ? clients.filter((id) => before[id] !== undefined) : clients,
    cases: check && values.case === undefined ? cases.filter((name) => CHECKED.has(name)) : cases,
    until: performance.now() + Number(values.within) * 1_000,
  }
}

/** One after the other: whoever asks for this does something else meanwhile. */
async function installAll({ clients }: Wish): Promise<number> {
  for (const from of new Set(clients.map((id) => clientOf(id).from))) {
    const install = await sources[from](INSTALL_MS.measure)
    console.log('missing' in install ? `skip  ${from}: ${install.missing}` : `ready ${from}`)
  }
  return 0
}

/** Everything that can be had and run in time, each source's as soon as it is there. */
async function allCells(wish: Wish, before: Table): Promise<Done[]> {
  const turn = atMost(AT_ONCE)
  const done: Done[] = []
  const froms = new Set(wish.clients.map((id) => clientOf(id).from))
  const ofSource = async (from: SourceId): Promise<void> => {
    const installMs = wish.check ? INSTALL_MS.check : INSTALL_MS.measure
    const install = await sources[from](installMs)
    if ('missing' in install) return console.log(`skip  ${from}: ${install.missing}`)
    const cells = wish.clients
      .filter((id) => clientOf(id).from === from)
      .flatMap((id) => wish.cases.map((name) => ({ id, name })))
      .filter(({ id, name }) => isAsked(clientOf(id), name))
    // The longest first.
    const msOf = ({ id, name }: (typeof cells)[number]): number =>
      before[id]?.cells[name]?.ms ?? Infinity
    cells.sort((one, other) => msOf(other) - msOf(one))
    await Promise.all(cells.map((one) => turn(() => runOne({ ...one, install, wish, done }))))
    if (!wish.check) await keep(before, done)
  }
  await Promise.all([...froms].map(ofSource))
  return done
}

function isAsked(client: Client, name: CaseName): boolean {
  return client.without?.includes(name) !== true
}

async function runOne(of: {
  id: ClientId
  name: CaseName
  install: Exclude<Install, { missing: string }>
  wish: Wish
  done: Done[]
}): Promise<void> {
  const { id, name, install, wish, done } = of
  if (performance.now() > wish.until) return console.log(`skip  ${id} ${name}: no time left`)
  const cell = await runCell({
    client: clientOf(id),
    name,
    install,
    patienceMs: wish.check ? PATIENCE_MS.check : PATIENCE_MS.measure,
    shortWaits: wish.check,
  })
  done.push({ id, name, cell })
  const { wrong, calls, ms, type, words, message } = cell
  const said = type === undefined ? '' : `${type}${words === true ? '' : ', without the words'}: `
  console.log(`${id} ${name}: ${wrong} ${calls} calls, ${ms} ms, ${said}${message ?? ''}`)
}

/** What could not be measured keeps what it had. */
async function keep(before: Table, all: readonly Done[]): Promise<void> {
  const table: Table = {}
  for (const id of CLIENT_IDS) {
    const cells = { ...before[id]?.cells }
    for (const { name, cell } of all.filter((one) => one.id === id)) {
      const { message: _, ...kept } = cell
      cells[name] = kept satisfies Kept
    }
    const measured = all.some((one) => one.id === id)
    const version = measured ? versionOf(clientOf(id)) : before[id]?.version
    if (version === undefined) continue
    const ordered = CASE_NAMES.flatMap((name) => (cells[name] ? [[name, cells[name]]] : []))
    table[id] = { version, cells: Object.fromEntries(ordered) }
  }
  writeTable(table)
  for (const page of pages.filter(({ from }) => from === 'test/clients/page.ts'))
    writeFileSync(inRoot(page.path), (await rendered(page)) ?? '')
}

/** Runs what it is given, so many at once, in turn. */
function atMost(places: number) {
  const waiting: (() => void)[] = []
  let free = places
  return async (work: () => Promise<void>): Promise<void> => {
    if (free > 0) free--
    else await new Promise<void>((resolve) => waiting.push(resolve))
    try {
      await work()
    } finally {
      const next = waiting.shift()
      if (next === undefined) free++
      else next()
    }
  }
}
