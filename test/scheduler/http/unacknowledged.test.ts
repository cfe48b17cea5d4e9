/** What the kernel's table of connections says of ours. */
import { expect, test } from 'vitest'
import { unacknowledged } from '../../../services/scheduler/http/unacknowledged.ts'

const HEAD =
  '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode'
const row = (local: string, remote: string, sent: string) =>
  `   1: ${local} ${remote} 01 ${sent}:00000000 04:00000012 00000000     0        0 425705`
const socket = (localPort: number, remotePort: number, writableLength = 0) =>
  ({ localPort, remotePort, writableLength }) as never

const looked = async (tables: Record<string, string>) => {
  const table = unacknowledged(async (path) => {
    const text = tables[path]
    if (text === undefined) throw new Error('ENOENT')
    return text
  })
  table.look()
  await new Promise(setImmediate)
  return table
}

test('bytes that the other side has not acknowledged, of both kinds of address', async () => {
  const table = await looked({
    '/proc/net/tcp': [HEAD, row('0100007F:9FE3', '0100007F:CA7E', '00062AE0'), ''].join('\n'),
    '/proc/net/tcp6': [
      HEAD,
      row(
        '0000000000000000FFFF00000100007F:9FE3',
        '0000000000000000FFFF00000100007F:0001',
        '00000010',
      ),
      '',
    ].join('\n'),
  })
  expect(table.of(socket(0x9fe3, 0xca7e))).toBe(0x62ae0)
  expect(table.of(socket(0x9fe3, 0xca7e, 7))).toBe(0x62ae0 + 7)
  expect(table.of(socket(0x9fe3, 1))).toBe(16)
  expect(table.of(socket(0x9fe3, 2, 5))).toBe(5)
})

test('of two at equal ports the one that owes less', async () => {
  const table = await looked({
    '/proc/net/tcp': [
      row('0100007F:9FE3', '0100007F:CA7E', '00062AE0'),
      row('0100007F:9FE3', '0200007F:CA7E', '00000001'),
    ].join('\n'),
  })
  expect(table.of(socket(0x9fe3, 0xca7e))).toBe(1)
})

test('where there is no such table, or it says something else, what Node knows', async () => {
  for (const tables of [{}, { '/proc/net/tcp': 'nothing of the kind\n' }])
    expect((await looked(tables)).of(socket(1, 2, 9))).toBe(9)
})
