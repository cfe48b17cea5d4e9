/** `npm run build`: the source as Node can run it inside node_modules, where it strips no types, into `dist/`;
 *  and of it the client alone, as a package of its own, into `dist-client/`. Emits beside them and swaps, so
 *  that a failed build leaves the last good ones. */
import { spawnSync } from 'node:child_process'
import { chmodSync, cpSync, existsSync, readdirSync, readFileSync } from 'node:fs'
import { renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { clientPackage } from './client-package.mjs'
import { pageScript } from '../services/dashboard/page-script.ts'

const root = fileURLToPath(new URL('..', import.meta.url))
const dist = join(root, 'dist')
const fresh = join(root, 'node_modules', `.headgate-dist-${process.pid}`)
const rooms = ['contracts', 'machines', 'services']
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))

process.on('exit', () => rmSync(fresh, { recursive: true, force: true }))
compile()
copyAssets()
writePage()
writeManifest()
checkDoors()
const client = clientPackage({ root, built: fresh, manifest })
rmSync(dist, { recursive: true, force: true })
renameSync(fresh, dist)
rmSync(join(root, 'dist-client'), { recursive: true, force: true })
renameSync(client, join(root, 'dist-client'))

function compile() {
  const tsc = join(root, 'node_modules', 'typescript', 'bin', 'tsc')
  const project = join(root, '.ci', 'build.tsconfig.json')
  const run = spawnSync(process.execPath, [tsc, '-p', project, '--outDir', fresh], {
    cwd: root,
    stdio: ['ignore', 2, 2],
  })
  if (run.status !== 0) fail('tsc found errors; dist/ is as it was')
}

/** Pages and drawings that a program reads at run time. */
function copyAssets() {
  for (const room of rooms)
    cpSync(join(root, room), join(fresh, room), {
      recursive: true,
      filter: (from) => !/\.(ts|md)$/.test(from),
    })
}

/** The dashboard's page, as a browser runs it. */
function writePage() {
  const page = join('services', 'dashboard', 'page')
  for (const name of readdirSync(join(root, page))) {
    if (!name.endsWith('.ts') || name.endsWith('.d.ts')) continue
    const script = pageScript(readFileSync(join(root, page, name), 'utf8'), name)
    writeFileSync(join(fresh, page, name.replace(/\.ts$/, '.js')), script)
  }
  rmSync(join(fresh, page, 'tsconfig.json'), { force: true })
}

/** Node and the compiler both take the nearest package.json: here the `#` names end in `.js`. */
function writeManifest() {
  const imports = Object.fromEntries(
    Object.entries(manifest.imports).map(([name, to]) => [name, to.replace(/\.ts$/, '.js')]),
  )
  const { name, version, type } = manifest
  writeFileSync(
    join(fresh, 'package.json'),
    JSON.stringify({ name, version, type, imports }, null, 2),
  )
}

/** What package.json promises must be there, and a command must be one. */
function checkDoors() {
  for (const command of Object.values(manifest.bin)) {
    const file = inFresh(command)
    if (!readFileSync(file, 'utf8').startsWith('#!/usr/bin/env node\n'))
      fail(`${command} does not begin with #!/usr/bin/env node`)
    chmodSync(file, 0o755)
  }
  const exported = Object.values(manifest.exports).flatMap((to) =>
    typeof to === 'string' ? [to] : Object.values(to),
  )
  for (const to of exported) {
    if (to.startsWith('./dist/')) inFresh(to)
    else if (!existsSync(join(root, to.replace(/[^/]*\*.*$/, '')))) fail(`no ${to} to export`)
  }
}

function inFresh(path) {
  const file = join(fresh, path.replace(/^(\.\/)?dist\//, ''))
  if (!existsSync(file)) fail(`package.json promises ${path}, and the source has no such file`)
  return file
}

function fail(message) {
  process.stderr.write(`build: ${message}\n`)
  process.exit(1)
}
