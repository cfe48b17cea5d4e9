/** A page's TypeScript as JavaScript for a browser: at start from the source tree, at build time for `dist/`. */
// By its namespace: an older Node, which lacks the function, is told so by the package's door (contracts/engine).
import * as module from 'node:module'

/** Throws where the page imports what a browser could not fetch. */
export function pageScript(source: string, name: string): string {
  const script = quietly(() => module.stripTypeScriptTypes(source))
  return script.replace(IMPORT, (_all, head: string, from: string, tail: string) => {
    if (!/^\.\/[\w-]+\.ts$/.test(from))
      throw new Error(`services/dashboard/page/${name}: ${from}: a page imports ./its-own.ts only`)
    return `${head}${from.replace(/\.ts$/, '.js')}${tail}`
  })
}

/** Node warns that the function is young; whoever starts from source need not read it at each start. */
function quietly<T>(act: () => T): T {
  const { emitWarning } = process
  process.emitWarning = () => {}
  try {
    return act()
  } finally {
    process.emitWarning = emitWarning
  }
}

const IMPORT =
  /(^\s*(?:import|export)\s+[\w\s{},*$]+?\s+from\s+['"]|^\s*import\s+['"]|\bimport\(\s*['"])([^'"\n]+)(['"])/gm
