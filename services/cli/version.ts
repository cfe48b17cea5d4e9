/** The package's own version; found from the source tree and from `dist/`. */
import { readFileSync } from 'node:fs'

export const version = readVersion()

function readVersion(): string {
  for (const up of ['../../package.json', '../../../package.json']) {
    try {
      const text = readFileSync(new URL(up, import.meta.url), 'utf8')
      const { version: found } = JSON.parse(text) as { version?: string }
      if (found !== undefined) return found
    } catch {
      continue
    }
  }
  return '0.0.0'
}
