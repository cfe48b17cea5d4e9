/** npm's pre-step, in JavaScript that the host's own Node can run (20 or later): makes `node_modules`
 *  equal to `package-lock.json` and sees to a Node that runs TypeScript. Silent when both are so. It
 *  never writes to stdout, which belongs to the command that follows. */
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  existsSync,
  linkSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const modules = join(root, 'node_modules')
const windows = process.platform === 'win32'
const NODE_MIN = [22, 18]
const WAIT_MAX_MS = 600_000

if (!installed()) oneAtATime(install)
checkNode()

/** Compares contents: in a fresh clone or a restored cache the times of files say nothing. */
function installed() {
  const wanted = packagesOf(join(root, 'package-lock.json'))
  const present = packagesOf(join(modules, '.package-lock.json'))
  if (wanted === null)
    fail('package-lock.json is missing or is not JSON: restore it, then try again')
  if (present === null) return false
  return Object.entries(wanted).every(([path, one]) => {
    // The root, and folders of this repository.
    if (!path.startsWith('node_modules/') || one.link) return true
    const found = present[path]
    if (!found) return Boolean(one.optional)
    return found.version === one.version && existsSync(join(root, path))
  })
}

function packagesOf(file) {
  try {
    return JSON.parse(readFileSync(file, 'utf8')).packages
  } catch {
    return null
  }
}

function install() {
  if (installed()) return
  process.stderr.write('headgate: installing dependencies (npm ci)\n')
  // Without node_modules/.bin on the PATH: npm must not run on a Node that it is about to delete.
  const path = (process.env.PATH ?? '')
    .split(delimiter)
    .filter((part) => !part.includes(join('node_modules', '.bin')))
    .join(delimiter)
  const args = ['ci', '--no-audit', '--no-fund', '--include=dev', '--loglevel=notice']
  const run = spawnSync('npm', args, {
    cwd: root,
    encoding: 'utf8',
    env: { ...process.env, PATH: path },
    shell: windows,
    stdio: ['ignore', 'pipe', 'pipe'],
    maxBuffer: 64_000_000,
  })
  if (run.status === 0) return
  process.stderr.write(`${run.stdout ?? ''}${run.stderr ?? ''}`)
  fail(`npm ci failed${run.error ? `: ${run.error.message}` : ''}; its log stands above`)
}

/** The lock is a file that appears together with its content, the process id of its holder. */
function oneAtATime(work) {
  const name = createHash('sha256').update(root).digest('hex').slice(0, 16)
  const lock = join(tmpdir(), `headgate-install-${name}`)
  const own = mkdtempSync(`${lock}-`)
  const until = Date.now() + WAIT_MAX_MS
  let held = false
  process.on('exit', () => {
    rmSync(own, { recursive: true, force: true })
    if (held) rmSync(lock, { force: true })
  })
  writeFileSync(join(own, 'pid'), String(process.pid))
  while (!(held = taken(join(own, 'pid'), lock))) {
    if (Date.now() > until)
      fail(`another installation has not ended; if there is none, remove ${lock}`)
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 200)
  }
  work()
}

function taken(own, lock) {
  try {
    linkSync(own, lock)
    return true
  } catch (error) {
    if (error.code !== 'EEXIST') throw error
  }
  if (!holderLives(lock)) rmSync(lock, { force: true })
  return false
}

function holderLives(lock) {
  try {
    process.kill(Number(readFileSync(lock, 'utf8')), 0)
    return Date.now() - statSync(lock).mtimeMs < WAIT_MAX_MS
  } catch (error) {
    return error.code === 'EPERM'
  }
}

/** What npm put on the PATH of this project's commands, where there is one for the platform (.ci/node). */
function checkNode() {
  const name = ownNode()
  const own = join(modules, name, 'bin', windows ? 'node.exe' : 'node')
  const run = spawnSync(own, ['--version'], { encoding: 'utf8' })
  if (run.status === 0 && recent(run.stdout)) return
  const absent = !existsSync(own)
  if (absent && recent(process.version)) return
  const min = NODE_MIN.join('.')
  fail(
    absent
      ? `Node >= ${min} is needed; this is ${process.version}, and npm has installed none for this project
(optional packages are omitted, or there is no ${name}). Do one of these:
  npm ci --include=optional
  put Node >= ${min} on the PATH`
      : `${own} does not run${run.stderr ? `: ${run.stderr.trim()}` : ''}. Do one of these:
  npm ci   (fetches it again)
  put Node >= ${min} on the PATH and remove node_modules/${name}`,
  )
}

/** The package's name, as its publisher makes it. */
function ownNode() {
  const { platform, arch } = process
  const prefix = platform === 'darwin' && arch === 'arm64' ? 'node-bin' : 'node'
  return `${prefix}-${windows ? 'win' : platform}-${arch}`
}

function recent(version) {
  const [major = 0, minor = 0] = version.trim().replace(/^v/, '').split('.').map(Number)
  return major > NODE_MIN[0] || (major === NODE_MIN[0] && minor >= NODE_MIN[1])
}

function fail(message) {
  process.stderr.write(`headgate: ${message}\n`)
  process.exit(1)
}
