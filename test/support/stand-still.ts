/** Makes a process stand still. The signal is sent at once and takes a moment: a server may answer once more. */
import { existsSync, readFileSync } from 'node:fs'
import { vi } from 'vitest'

export async function standStill(pid: number): Promise<void> {
  process.kill(pid, 'SIGSTOP')
  const stat = `/proc/${pid}/stat`
  if (!existsSync(stat)) return
  await vi.waitFor(() => {
    if (/\) (\w) /.exec(readFileSync(stat, 'utf8'))?.[1] !== 'T') throw new Error('it goes on')
  })
}
