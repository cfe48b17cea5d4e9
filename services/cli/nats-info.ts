/** What a NATS server says of itself to whoever connects, before any password: its INFO line. */
import { connect } from 'node:net'
import { after } from '#platform/system'

export interface NatsInfo {
  version: string
  max_payload: number
  jetstream: boolean
  auth_required: boolean
  tls_required: boolean
}

const WITHIN_MS = 3_000
const LINE_BYTES_MAX = 65_536

/** Rejects with one line when nobody is there, or nobody who speaks NATS. */
export function readNatsInfo(url: string): Promise<NatsInfo> {
  const { host, port } = addressOf(url)
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port })
    let text = ''
    const end = (error: Error | null): void => {
      cancel()
      socket.destroy()
      if (error !== null) reject(error)
    }
    const cancel = after(WITHIN_MS, () => end(new Error(`silent for ${WITHIN_MS} ms`)))
    socket.once('error', (error: NodeJS.ErrnoException) =>
      end(new Error(error.code === 'ECONNREFUSED' ? 'nobody listens there' : error.message)),
    )
    socket.once('close', () => end(new Error('it closed the connection')))
    socket.on('data', (data) => {
      text += data.toString()
      const line = /^INFO (\{.*\}) *\r\n/.exec(text)?.[1]
      if (line !== undefined) {
        const { version, max_payload, jetstream, auth_required, tls_required } = JSON.parse(
          line,
        ) as Partial<NatsInfo>
        resolve({
          version: version ?? '0',
          max_payload: max_payload ?? 0,
          jetstream: jetstream === true,
          auth_required: auth_required === true,
          tls_required: tls_required === true,
        })
        end(null)
      } else if (!text.startsWith('INFO '.slice(0, text.length)) || text.length > LINE_BYTES_MAX)
        end(new Error('what listens there is no NATS server'))
    })
  })
}

/** The first server of a list. */
export function addressOf(url: string): { host: string; port: number } {
  const [first = ''] = url.split(',')
  const at = new URL(first.includes('://') ? first : `nats://${first}`)
  return { host: at.hostname || '127.0.0.1', port: at.port === '' ? 4_222 : Number(at.port) }
}
