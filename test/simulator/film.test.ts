/** A recorded simulation is what the dashboard would have shown, and recording changes nothing. */
import { expect, test } from 'vitest'
import { frame, hello } from '#contracts/dashboard'
import { simulateScenario } from '../../services/simulator/simulate.ts'

const what = { name: 'S4', part: 0.2, load: null, reserved: null, noise: null }

test('a film is a hello and a frame for each second, and the run is the same run', async () => {
  const lines: { hello?: unknown; frame?: unknown }[] = []
  const job = { label: '', policy: 'headgate', config: null } as const
  const plain = await simulateScenario(job, what, [3])
  const filmed = await simulateScenario(job, what, [3], {
    record: (line) => lines.push(line),
    series: false,
  })
  expect(filmed.trace_hash).toBe(plain.trace_hash)
  expect(hello.parse(lines[0]?.hello).instance).toBe('simulation')
  const frames = lines.slice(1).map((line) => frame.parse(line.frame))
  expect(frames.length).toBeGreaterThan(480)
  const seconds = frames.map((one) => one.at)
  for (let i = 1; i < frames.length; i++) expect(seconds[i]! - seconds[i - 1]!).toBe(1_000)
  // The storm of S4 begins at 300 s: the limit has been taken down by then.
  const [calm, storm] = [frames[290]!, frames[380]!].map((one) => one.routes[0]!.limit)
  expect(calm).toBe(60)
  expect(storm).toBeLessThan(30)
})

test('there is no film of what has no machines', async () => {
  const job = { label: '', policy: 'naive', config: null } as const
  await expect(
    simulateScenario(job, what, [3], { record: () => {}, series: false }),
  ).rejects.toThrow('--record shows the machines of headgate or classic; naive has none')
})
