/** A bare reverse proxy of Node's own HTTP, with kept connections and nothing else: what the door is measured
 *  against. */
import { Agent, createServer, request } from 'node:http'

const [upstream = ''] = process.argv.slice(2)
const { hostname, port } = new URL(upstream)
const agent = new Agent({ keepAlive: true, maxSockets: 2_048 })

const server = createServer((incoming, outgoing) => {
  const { method, url: path, headers } = incoming
  const asked = request({ hostname, port, method, path, headers, agent }, (answer) => {
    outgoing.writeHead(answer.statusCode ?? 502, answer.headers)
    answer.pipe(outgoing)
  })
  asked.on('error', () => outgoing.destroy())
  outgoing.on('close', () => {
    if (!outgoing.writableFinished) asked.destroy()
  })
  incoming.pipe(asked)
})
server.keepAliveTimeout = 60_000
server.listen(0, '127.0.0.1', () => {
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no address')
  process.send?.({ type: 'ready', url: `http://127.0.0.1:${address.port}` })
})
process.on('disconnect', () => process.exit(0))
