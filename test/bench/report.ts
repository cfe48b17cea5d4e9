/** How benches speak: plain tables, and the few statistics they quote. */

export function sayTable(title: string, rows: readonly (readonly string[])[]): void {
  const widths = rows[0]!.map((_, column) =>
    Math.max(...rows.map((row) => (row[column] ?? '').length)),
  )
  console.log(`\n${title}`)
  for (const row of rows)
    console.log('  ' + row.map((cell, i) => cell.padEnd(widths[i]!)).join('  '))
}

export const median = (samples: readonly number[]): number => quantile(samples, 0.5)

export function quantile(samples: readonly number[], q: number): number {
  const sorted = [...samples].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? Number.NaN
}

/** As one that goes into a page of docs. */
export function sayMarkdown(rows: readonly (readonly string[])[]): void {
  const [head = [], ...body] = rows
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`
  console.log([line(head), line(head.map(() => '---')), ...body.map(line)].join('\n'))
}
