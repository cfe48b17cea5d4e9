/** An engine that is too old is told at the door. */
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { read } from '../support/tree.ts'

beforeEach(() => vi.resetModules())
afterEach(() => vi.unstubAllGlobals())

const onNode = (node: string | undefined) => {
  vi.stubGlobal('process', { ...process, versions: { node } })
  return import('#contracts/engine')
}

test('the package asks for the Node that its manifest asks for', async () => {
  const { engines } = JSON.parse(read('package.json')) as { engines: { node: string } }
  const [, major = 0, minor = 0] = /^>=(\d+)\.(\d+)$/.exec(engines.node)?.map(Number) ?? []
  await expect(onNode(`${major}.${minor - 1}.9`)).rejects.toThrow(
    `headgate: Node ${major}.${minor} or later is needed; this is ${major}.${minor - 1}.9`,
  )
})

test.each(['18.0.0', '20.20.2', '22.17.1'])('Node %s is too old', async (version) => {
  await expect(onNode(version)).rejects.toThrow(/Node 22\.18 or later is needed; this is /)
})

test.each(['22.18.0', '24.0.0', '25.1.0-nightly', undefined])('%s is not', async (version) => {
  await expect(onNode(version)).resolves.toBeDefined()
})
