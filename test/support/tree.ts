/** The repository as a list of files. */
import { existsSync, readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const root = fileURLToPath(new URL('../..', import.meta.url))

export const inRoot = (path: string): string => join(root, path)
export const present = (path: string): boolean => existsSync(inRoot(path))
export const read = (path: string): string => readFileSync(inRoot(path), 'utf8')

/** Paths below `rooms` that end so, with `/` between the parts, sorted. */
export function filesOf(rooms: readonly string[], ending: RegExp): string[] {
  return rooms
    .filter(present)
    .flatMap((room) =>
      readdirSync(inRoot(room), { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile())
        .map((entry) => join(entry.parentPath, entry.name).slice(root.length)),
    )
    .map((path) => path.replaceAll('\\', '/'))
    .filter((path) => ending.test(path))
    .toSorted()
}

/** What stands at the top level and is not ignored by git. */
export function topLevel(): string[] {
  const ignored = read('.gitignore')
    .split('\n')
    .map((line) => line.trim().replace(/^\/|\/$/g, ''))
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => new RegExp(`^${line.replaceAll('.', '\\.').replaceAll('*', '.*')}$`))
  return readdirSync(root).filter((name) => !ignored.some((one) => one.test(name)))
}
