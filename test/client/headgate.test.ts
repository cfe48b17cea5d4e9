/** Connecting and closing, on a transport that is somebody else's. */
import { expect, test } from 'vitest'
import { connectHeadgate, HeadgateClient } from '#client'
import { handTransport } from '../support/hand-transport.ts'

test('who cannot connect leaves nothing behind', async () => {
  const ready = () => Promise.reject(new Error('nobody there'))
  const server = handTransport({ ready })
  const { transport } = server
  const connecting = connectHeadgate({ tenant: 'acme', transport })
  await expect(connecting).rejects.toMatchObject({ code: 'unreachable', message: 'nobody there' })
  expect([server.subjects(), server.faultListeners(), server.closed()]).toEqual([[], 0, 0])
})

test.each(['connected', 'failed'])('closed before it is %s, it is closed', async (how) => {
  const gate = Promise.withResolvers<void>()
  const { transport } = handTransport({ ready: () => gate.promise })
  const client = new HeadgateClient({ tenant: 'acme', transport })
  const ready = expect(client.ready()).rejects.toMatchObject({ code: 'closed' })
  await client.close()
  if (how === 'connected') gate.resolve()
  else gate.reject(new Error('nobody there'))
  await ready
  await expect(client.ready()).rejects.toMatchObject({ code: 'closed' })
  expect(() => client.as('other')).toThrow('make another one')
  expect(() => client.events(() => {})).toThrow('make another one')
})
