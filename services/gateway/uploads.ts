/** Bodies on their way in, together: what one announces counts from its first byte until it is handed over,
 *  and one that announces nothing counts as the largest that may come. No tenant holds more than a share of
 *  it, so that none can keep the others out by announcing what it never sends. One that finds no room is not
 *  read: it waits where it is, in the order of arrival; only those whose own tenant has no room are overtaken, by
 *  others' bodies.
 *  Cost: the line is walked when a body has come or gone. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { refusal, type Refusal } from '#contracts/messages'

export interface UploadLimits {
  /** Of all bodies that are being received. */
  bytesMax: number
  /** How many more may wait for room, and for how long each. */
  queuedMax: number
  waitMs: number
}

interface Upload {
  tenant: string
  announced: number
  /** It may be read now. */
  admit: () => void
}

export interface UploadsOptions {
  limits: () => UploadLimits
  tenantOf: (request: FastifyRequest) => string
  /** Of all bytes and all places, the most that one tenant may hold, 0 to 1; one body it may always send. */
  tenantShare: () => number
  /** The largest body. */
  eachBytesMax: number
  after: (ms: number, call: () => void) => () => void
  refuse: (reply: FastifyReply, refused: Refusal) => void
}

export function uploads(scope: FastifyInstance, of: UploadsOptions): void {
  const held = new WeakMap<FastifyRequest, Upload>()
  const room: Room = { of, byTenant: new Map(), line: new Set(), bytes: 0 }
  const give = (request: FastifyRequest) => {
    const upload = held.get(request)
    if (upload === undefined) return
    held.delete(request)
    count(room, upload.tenant, -upload.announced)
    letIn(room)
  }

  scope.addHook('preParsing', (request, reply, _payload, done) => {
    const announced = announcedBytes(request, of.eachBytesMax)
    if (announced === 0) return done()
    let stop = () => {}
    const upload: Upload = {
      tenant: of.tenantOf(request),
      announced,
      admit() {
        stop()
        count(room, upload.tenant, announced)
        held.set(request, upload)
        done()
      },
    }
    reply.raw.once('close', () => {
      stop()
      if (room.line.delete(upload)) letIn(room)
      give(request)
    })
    const waits = mayWait(room, upload)
    room.line.add(upload)
    letIn(room)
    if (!room.line.has(upload)) return
    const refuse = () => {
      room.line.delete(upload)
      of.refuse(reply, FULL)
      letIn(room)
    }
    if (waits) stop = of.after(of.limits().waitMs, refuse)
    else refuse()
  })
  scope.addHook('preHandler', (request, _reply, done) => {
    give(request)
    done()
  })
}

/** What is being received, and what waits for it. */
interface Room {
  readonly of: UploadsOptions
  /** Bytes being received, of each tenant that sends any. */
  readonly byTenant: Map<string, number>
  readonly line: Set<Upload>
  bytes: number
}

function count(room: Room, tenant: string, more: number): void {
  room.bytes += more
  const own = (room.byTenant.get(tenant) ?? 0) + more
  if (own === 0) room.byTenant.delete(tenant)
  else room.byTenant.set(tenant, own)
}

const lacksRoom = ({ of, bytes }: Room, { announced }: Upload): boolean =>
  bytes > 0 && bytes + announced > of.limits().bytesMax

function lacksShare({ of, byTenant }: Room, { tenant, announced }: Upload): boolean {
  const own = byTenant.get(tenant) ?? 0
  return own > 0 && own + announced > of.limits().bytesMax * of.tenantShare()
}

function letIn(room: Room): void {
  const kept = new Set<string>()
  for (const upload of room.line) {
    if (lacksRoom(room, upload)) return
    if (kept.has(upload.tenant) || lacksShare(room, upload)) kept.add(upload.tenant)
    else {
      room.line.delete(upload)
      upload.admit()
    }
  }
}

function mayWait({ of, line }: Room, { tenant }: Upload): boolean {
  const { queuedMax, waitMs } = of.limits()
  if (waitMs === 0 || line.size >= queuedMax) return false
  let own = 0
  for (const upload of line) if (upload.tenant === tenant) own++
  return own < Math.ceil(queuedMax * of.tenantShare())
}

const FULL = refusal(
  'queue_full',
  'the bodies that are being received hold all they may (gateway.upload_bytes)',
)

function announcedBytes({ headers }: FastifyRequest, most: number): number {
  if (headers['transfer-encoding'] !== undefined) return most
  const length = Number(headers['content-length'] ?? 0)
  return Number.isFinite(length) ? Math.min(length, most) : most
}
