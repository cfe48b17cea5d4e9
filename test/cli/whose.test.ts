/** Whose request or job a command means, and which. */
import { Command } from 'commander'
import { expect, test } from 'vitest'
import { Misuse } from '../../services/cli/terminal.ts'
import { whose, whoseArguments, type WhoseFlags } from '../../services/cli/whose.ts'

function read(...args: string[]): unknown {
  let read: unknown
  const command = whoseArguments(new Command('x'), 'its id')
    .exitOverride()
    .configureOutput({ writeErr: () => {} })
    .action((names: string[], flags: WhoseFlags) => {
      read = whose(names, flags)
    })
  command.parse(args, { from: 'user' })
  return read
}

test.each([
  [['acme', 'job-1'], { tenant: 'acme', id: 'job-1' }],
  [['--tenant', 'acme', 'job-1'], { tenant: 'acme', id: 'job-1' }],
  [['job-1', '--tenant', 'acme'], { tenant: 'acme', id: 'job-1' }],
])('%j', (args, read_) => expect(read(...args)).toEqual(read_))

test('a result may be of the tenant that a job has where none is named', () => {
  expect(whose(['job-1'], {}, 'default')).toEqual({ tenant: 'default', id: 'job-1' })
  expect(whose(['job-1'], { tenant: 'acme' }, 'default').tenant).toBe('acme')
})

test.each([
  [['job-1'], 'there is only job-1'],
  [['acme', 'job-1', '--tenant', 'b'], 'acme job-1 says whose it is'],
  [['a', 'b', 'c'], 'expected [tenant] <id>, not 3 names'],
])('%j is refused', (args, said) => {
  expect(() => read(...args)).toThrow(Misuse)
  expect(() => read(...args)).toThrow(said)
})

test.each([[[]], [['a.b']], [['acme', 'a b']], [['x', '--tenant', '*']]])('%j is no name', (args) =>
  expect(() => read(...args)).toThrow(/missing|expected 1 to 64/),
)
