/** package-lock.json, and that of the foreign clients: whatever npm fetches is checked against it, and none of it
 *  runs when it is installed. */
import { expect, test } from 'vitest'
import { read } from './support/tree.ts'

interface Entry {
  version?: string
  link?: boolean
  resolved?: string
  integrity?: string
  hasInstallScript?: boolean
}

const packagesOf = (path: string): Record<string, Entry> => JSON.parse(read(path)).packages
const fetchedOf = (packages: Record<string, Entry>) =>
  Object.entries(packages).filter(
    ([path, one]) => path.startsWith('node_modules/') && one.link !== true,
  )
const own = packagesOf('package-lock.json')
const clients = packagesOf('test/clients/node/package-lock.json')
const fetched = [...fetchedOf(own), ...fetchedOf(clients)]

test('every package that is fetched has its hash, for each platform', () => {
  expect(fetched.length).toBeGreaterThan(100)
  const without = fetched.filter(([, one]) => !/^sha512-[\w+/]{86}==$/.test(one.integrity ?? ''))
  expect(without.map(([path]) => path)).toEqual([])
})

test('no package is fetched from an address of its own: which registry is a matter of the machine', () => {
  expect(fetched.filter(([, one]) => one.resolved !== undefined).map(([path]) => path)).toEqual([])
})

test('no package has an install script, which would fetch or run what no hash holds', () => {
  // Of the clients they are not run: `npm ci --ignore-scripts`.
  const running = fetchedOf(own).filter(([, one]) => one.hasInstallScript === true)
  expect(running.map(([path]) => path)).toEqual([])
})

test('folders of this repository that it links are there, with the versions that it says', () => {
  const linked = Object.entries(own).filter(([, one]) => one.link === true)
  expect(linked.map(([path, one]) => [path, one.resolved])).toEqual([
    ['node_modules/headgate-node', '.ci/node'],
  ])
  const wanted = JSON.parse(read('.ci/node/package.json')).optionalDependencies as object
  for (const [name, version] of Object.entries(wanted))
    expect(own[`node_modules/${name}`]?.version).toBe(version)
})
