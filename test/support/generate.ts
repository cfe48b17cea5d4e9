/** The pages that the source writes: `npm run generate` writes them, with `--check` it only says which
 *  are stale, and tidy.test refuses a stale one. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { format, resolveConfig } from 'prettier'
import { contractPages } from '#contracts/documents/pages'
import { inRoot, present, read } from './tree.ts'

export interface Page {
  path: string
  /** The module that knows; a page whose module does not exist yet is left alone. */
  from: string
  /** Only the text between `<!-- name -->` and `<!-- /name -->` is generated. */
  block?: string
  render: (module: any) => string | Promise<string> // oxlint-disable-line typescript/no-explicit-any
}

export const pages: readonly Page[] = [
  {
    path: 'docs/configuration.md',
    from: 'services/platform/config/describe.ts',
    render: (describe) => describe.renderConfigurationPage(),
  },
  ...['breaker', 'concurrency-limit', 'request-lifecycle'].map((name) => ({
    path: `docs/charts/${name}.svg`,
    from: 'machines/chart-pages.ts',
    render: (chartPages: any) => chartPages.renderSvg(name), // oxlint-disable-line typescript/no-explicit-any
  })),
  {
    path: 'docs/charts/README.md',
    from: 'machines/chart-pages.ts',
    render: (chartPages) => chartPages.renderChartsPage(),
  },
  {
    path: 'contracts/generated/charts.ts',
    from: 'machines/chart-pages.ts',
    render: (chartPages) => chartPages.renderChartsModule(),
  },
  {
    path: 'README.md',
    from: 'machines/chart-pages.ts',
    block: 'charts',
    render: (chartPages) => chartPages.renderReadmeBlock(),
  },
  {
    path: 'docs/operations.md',
    from: 'contracts/runbook.ts',
    block: 'runbook',
    render: (runbook) => runbook.renderRunbook(),
  },
  {
    path: 'docs/clients.md',
    from: 'test/clients/page.ts',
    render: (page) => page.renderClientsPage(),
  },
  {
    path: '.oxlintrc.json',
    from: 'test/support/rooms.ts',
    render: (rooms) => rooms.renderLinter(read('.oxlintrc.json')),
  },
  ...Object.entries(contractPages).map(([path, render]) => ({
    path: `docs/contracts/${path}`,
    from: 'contracts/documents/pages.ts',
    render,
  })),
]

/** What the page should say; null while its module is missing. */
export async function rendered(page: Page): Promise<string | null> {
  if (!present(page.from)) return null
  const body: string = await page.render(await import(inRoot(page.from)))
  const text = page.block === undefined ? body : withBlock(read(page.path), page.block, body)
  const path = inRoot(page.path)
  return /\.(json|md|ts)$/.test(page.path)
    ? format(text, { ...(await resolveConfig(path)), filepath: path })
    : text
}

export async function isStale(page: Page): Promise<boolean> {
  const wanted = await rendered(page)
  return wanted !== null && (!present(page.path) || read(page.path) !== wanted)
}

function withBlock(text: string, name: string, body: string): string {
  const [open, close] = [`<!-- ${name} -->`, `<!-- /${name} -->`]
  const [start, end] = [text.indexOf(open), text.indexOf(close)]
  if (start < 0 || end < start) throw new Error(`no ${open} … ${close} to fill`)
  return `${text.slice(0, start + open.length)}\n\n${body.trim()}\n\n${text.slice(end)}`
}

async function main(): Promise<void> {
  const check = process.argv.includes('--check')
  for (const page of pages) {
    if (!(await isStale(page))) continue
    if (check) {
      process.exitCode = 1
      console.error(`${page.path} is stale: npm run generate`)
    } else {
      mkdirSync(dirname(inRoot(page.path)), { recursive: true })
      writeFileSync(inRoot(page.path), (await rendered(page)) ?? '')
      console.log(`wrote ${page.path}`)
    }
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main()
