/** TLS between a client and a real nats-server. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { HeadgateClient, natsTransport, type HeadgateOptions, type NatsTls } from '#client'
import { dialing } from '../../services/cli/dialing.ts'
import { hasOpenssl, makeCertificates, pem, type Certificates } from '../support/certificates.ts'
import { natsServer, type NatsServer } from '../support/nats-server.ts'

// Certificates are made by openssl, which not every machine has.
describe.skipIf(!hasOpenssl)('TLS', () => {
  let certificates: Certificates
  let server: NatsServer
  let strict: NatsServer
  beforeAll(async () => {
    certificates = makeCertificates()
    server = await natsServer({ jetstream: false, config: certificates.config() })
    strict = await natsServer({ jetstream: false, config: certificates.config({ verify: true }) })
  })
  afterAll(async () => {
    await Promise.all([server.stop(), strict.stop()])
    certificates.remove()
  })
  const secure = ({ port }: NatsServer) => `tls://127.0.0.1:${port}`
  const ours = (): NatsTls => ({
    ca: pem(certificates.ca),
    cert: pem(certificates.client.cert),
    key: pem(certificates.client.key),
  })
  /** Resolves when it is connected and closed again. */
  const connects = async (options: Partial<HeadgateOptions>) => {
    const client = new HeadgateClient({ tenant: 'acme', ...options })
    try {
      await client.ready()
    } finally {
      await client.close()
    }
  }

  test('a server is trusted whose certificate comes from the given authority, and no other', async () => {
    const servers = secure(server)
    await connects({ servers, tls: { ca: pem(certificates.ca) } })
    await expect(connects({ servers })).rejects.toMatchObject({
      code: 'unreachable',
      message: expect.stringMatching(/^cannot connect to NATS at tls:.*certificate/),
    })
  })

  test('a server that asks who we are is shown our certificate', async () => {
    await connects({ servers: secure(strict), tls: ours() })
  })

  test('a certificate counts for the address that was dialled, and localhost is another', async () => {
    const config = certificates.config({ pair: certificates.elsewhere })
    const elsewhere = await natsServer({ jetstream: false, config })
    const tls = { ca: pem(certificates.ca) }
    await expect(connects({ servers: secure(elsewhere), tls })).rejects.toThrow(
      "does not match certificate's altnames",
    )
    await elsewhere.stop()
  })

  test('tls:// and certificates are never used without TLS', async () => {
    const plain = await natsServer({ jetstream: false })
    await expect(connects({ servers: secure(plain) })).rejects.toThrow("does not support 'tls'")
    const given = connects({ servers: plain.url, tls: { ca: pem(certificates.ca) } })
    await expect(given).rejects.toThrow("does not support 'tls'")
    await plain.stop()
  })

  test('a call goes through, and again after the server was away', async () => {
    const client = new HeadgateClient({
      tenant: 'acme',
      servers: secure(strict),
      tls: ours(),
      subjectPrefix: 'tls',
    })
    // Nobody listens, and the server says so.
    await expect(client.request('{}')).rejects.toThrow('no Headgate listens')
    await strict.restart()
    await expect(client.request('{}')).rejects.toThrow('no Headgate listens')
    await client.close()
  })

  test('the command reads the files that NATS_CA, NATS_CERT and NATS_KEY name', async () => {
    const files = {
      NATS_CA: certificates.ca,
      NATS_CERT: certificates.client.cert,
      NATS_KEY: certificates.client.key,
    }
    Object.assign(process.env, files)
    try {
      const transport = await natsTransport(dialing(secure(strict)))
      await transport.ready()
      await transport.close()
    } finally {
      for (const name of Object.keys(files)) delete process.env[name]
    }
  })
})
