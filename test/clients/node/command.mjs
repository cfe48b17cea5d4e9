/** For clients that are commands. */
import { spawn } from 'node:child_process'

/** It said no; its words are what a person reads in the terminal. */
export class CommandSaysNo extends Error {
  constructor(status, words) {
    super(words)
    this.kind = `exit status ${status}`
  }
}

/** Starts it; `lines` are those of its stdout, as they come, and `left` says how it ended. */
export function command(program, args, { env = {}, cwd = process.cwd() } = {}) {
  const child = spawn(program, args, {
    cwd,
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let complaint = ''
  child.stderr.on('data', (data) => (complaint += data))
  const left = new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (status, signal) => resolve({ status: status ?? signal, complaint }))
  })
  return {
    left,
    interrupt: () => child.kill('SIGINT'),
    async *lines() {
      let rest = ''
      for await (const data of child.stdout.setEncoding('utf8')) {
        const lines = (rest + data).split('\n')
        rest = lines.pop()
        yield* lines
      }
      if (rest !== '') yield rest
    },
  }
}
