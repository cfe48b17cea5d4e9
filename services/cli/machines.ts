/** `headgate machines`: the state machines that run, as Mermaid text, as JSON that Stately's editor imports, or
 *  as a drawing. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Argument, Command, Option } from 'commander'
import { CHART_STYLE, charts, type DrawnChart } from '#contracts/generated/charts'
import { Failure, messageOf, Misuse, say } from './terminal.ts'

const FORMATS = ['mermaid', 'json', 'svg'] as const
type Format = (typeof FORMATS)[number]

const ENDINGS: Readonly<Record<Format, string>> = { mermaid: 'mmd', json: 'json', svg: 'svg' }

export const machines = (): Command =>
  new Command('machines')
    .summary('print the state machines: Mermaid, JSON for Stately, SVG')
    .description(
      'Prints the machines that Headgate runs, generated from their source: the circuit breaker ' +
        'and the concurrency limit that every route has, and the life of a request.',
    )
    .addArgument(
      new Argument('[machine]', 'one of them (default: all)').choices(
        charts.map(({ name }) => name),
      ),
    )
    .addOption(
      new Option('--format <format>', 'how it is written').choices(FORMATS).default('mermaid'),
    )
    .option('--out <folder>', 'write one file for each there, instead of printing')
    .action((machine: string | undefined, flags: { format: Format; out?: string }) => {
      const wanted = charts.filter(({ name }) => machine === undefined || name === machine)
      if (flags.out !== undefined) return writeAll(flags.out, wanted, flags.format)
      if (flags.format === 'svg' && wanted.length > 1)
        throw new Misuse('--format svg: name one machine, or a folder with --out')
      say(printed(wanted, flags.format))
    })

function printed(wanted: readonly DrawnChart[], format: Format): string {
  const [only] = wanted
  if (format === 'json' && wanted.length > 1)
    return JSON.stringify(Object.fromEntries(wanted.map((one) => [one.name, one.config])), null, 2)
  if (wanted.length === 1 && only !== undefined) return textOf(only, format).trimEnd()
  return wanted
    .map((one) => `%% ${one.title}\n${textOf(one, format)}`)
    .join('\n')
    .trimEnd()
}

function writeAll(folder: string, wanted: readonly DrawnChart[], format: Format): void {
  for (const one of wanted) {
    const path = join(folder, `${one.name}.${ENDINGS[format]}`)
    try {
      writeFileSync(path, textOf(one, format))
    } catch (error) {
      throw new Failure(messageOf(error))
    }
    say(path)
  }
}

function textOf(chart: DrawnChart, format: Format): string {
  if (format === 'mermaid') return chart.mermaid
  if (format === 'json') return `${JSON.stringify(chart.config, null, 2)}\n`
  return chart.svg.replace('<defs>', `<style>${CHART_STYLE}</style>\n<defs>`)
}
