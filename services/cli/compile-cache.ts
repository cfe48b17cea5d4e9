/** What Node made of our files is kept beside the packages, so that the next start does not make it again: a third of
 *  a start from the source tree is taking types out. A folder that cannot be written is done without. */
// Not by its name: an older Node has none, and is to hear so in words (`#contracts/engine`).
import module from 'node:module'
import { fileURLToPath } from 'node:url'

const FOLDER = fileURLToPath(new URL('../../node_modules/.cache/headgate-code', import.meta.url))

/** Null: we run as what was built, or whoever started us has chosen a folder or none. */
export const compileCache: string | null =
  import.meta.url.endsWith('.ts') &&
  process.env['NODE_COMPILE_CACHE'] === undefined &&
  process.env['NODE_DISABLE_COMPILE_CACHE'] === undefined
    ? FOLDER
    : null

if (compileCache !== null) module.enableCompileCache(compileCache)
