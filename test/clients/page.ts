/** docs/clients.md: what a user of a client looks up. */
import { CASE_NAMES, cases, type Case, type CaseName } from './cases.ts'
import { CLIENT_IDS, clientOf, type Client, type ClientId } from './clients.ts'
import { readTable, type Kept, type Measured } from './measured.ts'

type Row = { id: ClientId; client: Client; measured: Measured }

export function renderClientsPage(): string {
  const table = readTable()
  const rows = CLIENT_IDS.flatMap((id): Row[] => {
    const measured = table[id]
    return measured === undefined ? [] : [{ id, client: clientOf(id), measured }]
  })
  const fails = (name: CaseName): boolean => typeof (cases[name] as Case).upstream === 'object'
  const differences = rows.flatMap(({ client }) =>
    (client.differences ?? []).map((one) => `- **${client.name}**: ${one}`),
  )
  return [
    HEAD,
    '## What works',
    'One call each. _whole_ and _streamed_: the text arrives as the upstream sent it; _tools_: a tool is asked for, run, and its result answered; _abort_: the client lets go of a stream that runs, and the slot is free again.',
    tableOf(
      ['client', 'version', ...titles((name) => !fails(name))],
      rows.map(({ client, measured }) => [
        client.name,
        measured.version,
        ...CASE_NAMES.filter((name) => !fails(name)).map((name) =>
          workedText(measured.cells[name]),
        ),
      ]),
    ),
    '## Set it up',
    tableOf(
      ['client', 'base URL, key, a header'],
      rows.map(({ client }) => [client.name, client.setUp]),
    ),
    '## When the upstream fails',
    FAILING,
    tableOf(
      ['client', ...titles(fails)],
      rows.map(({ client, measured }) => [
        client.name,
        ...CASE_NAMES.filter(fails).map((name) =>
          failedText(measured.cells[name], (cases[name] as Case).deadlineMs === undefined ? 3 : 1),
        ),
      ]),
    ),
    '## What to set',
    tableOf(
      ['client', 'its own retries', 'calls that wait long (lane `batch`)'],
      rows.map(({ client }) => [client.name, client.retries, client.waiting]),
    ),
    ...(differences.length === 0 ? [] : ['## Known differences', differences.join('\n')]),
    '',
  ].join('\n\n')
}

const HEAD = `# Clients

Programs that nobody changed for Headgate, in front of it: what works, what to set, and what each does when the upstream fails. \`npm run clients\` installs the versions below, measures, and writes this page; CI measures again, and fails where something got worse. [The HTTP door](http-door.md) says what all of them share.`

const FAILING = `The upstream fails each call alike. A cell says what the client raises, how many calls upstream that took, and how long after the first of them it said no; Headgate's own part is 3 attempts and about 12 s for a call that has its lane's 300 s. **More** is a client that multiplies: see [what to set](#what-to-set). _No words_: what the upstream said is not in what the client tells; everywhere else it is. In _deadline_ the upstream is silent and the caller sent \`headgate-deadline-ms: 1500\`.`

const titles = (which: (name: CaseName) => boolean): string[] =>
  CASE_NAMES.filter(which).map((name) => cases[name].title)

function workedText(cell: Kept | undefined): string {
  if (cell === undefined) return ''
  return cell.wrong === '' ? 'yes' : `no: ${cell.wrong}`
}

function failedText(cell: Kept | undefined, most: number): string {
  if (cell === undefined) return ''
  const calls = `${cell.calls} ${cell.calls === 1 ? 'call' : 'calls'}`
  const many = cell.calls > most ? `**${calls}**` : calls
  if (cell.wrong !== '') return `${many}, ${cell.wrong} after ${secondsText(cell.ms)}`
  const words = cell.words === true ? '' : ', no words'
  return `\`${cell.type}\`: ${many}, ${secondsText(cell.ms)}${words}`
}

const secondsText = (ms: number): string =>
  ms < 9_950 ? `${(ms / 1_000).toFixed(1)} s` : `${Math.round(ms / 1_000)} s`

function tableOf(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n')
}
