/** The system's Chromium, if there is one: nothing is ever downloaded. */
import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'
import { chromium, type Browser } from 'playwright-core'

const NAMES = ['chromium', 'chromium-browser', 'google-chrome-stable', 'google-chrome']

/** CHROME_PATH, else the first of the usual names on PATH. */
export function findChromium(): { path: string } | { reason: string } {
  const named = process.env['CHROME_PATH']
  if (named !== undefined && named !== '')
    return runs(named) ? { path: named } : { reason: `CHROME_PATH: ${named} cannot be run` }
  const dirs = (process.env['PATH'] ?? '').split(delimiter).filter((dir) => dir !== '')
  const found = NAMES.flatMap((name) => dirs.map((dir) => join(dir, name))).find(runs)
  return found === undefined
    ? { reason: `there is no ${NAMES.join(', ')} on PATH, and CHROME_PATH names none` }
    : { path: found }
}

/** Null where there is none; one line says so, of the suite that is to say it. */
export async function openChromium(of: { say?: boolean } = {}): Promise<Browser | null> {
  const found = findChromium()
  if ('reason' in found) {
    if (of.say === true) process.stderr.write(`browser tests are skipped: ${found.reason}\n`)
    return null
  }
  return chromium.launch({
    executablePath: found.path,
    headless: true,
    // Root has no sandbox, and a container little shared memory.
    args: ['--no-sandbox', '--disable-dev-shm-usage', '--force-color-profile=srgb'],
  })
}

function runs(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}
