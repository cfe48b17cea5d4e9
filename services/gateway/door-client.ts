/** The client that a door asks with: for every tenant, and with more patience than any caller has. */
import { connectHeadgate, type Headgate, type HeadgateOptions } from '#client'
import type { ConfigFile } from '#contracts/config'
import { DEADLINE_MAX_MS } from '#contracts/messages'
import { GATEWAY_USER } from '#contracts/permissions'

/** Requests of one connection that may wait; the listener ends who asks more. */
const CALLS_PER_CONNECTION = 16

/** `way` is the bus, the transport or the server. */
export const connectDoor = (
  file: ConfigFile,
  way: Omit<HeadgateOptions, 'tenant'>,
): Promise<Headgate> =>
  connectHeadgate({
    ...way,
    // The user that `headgate auth` makes for the door; it asks as nobody but the tenants.
    tenant: GATEWAY_USER,
    subjectPrefix: file.subject_prefix,
    callsMax: CALLS_PER_CONNECTION * file.gateway.connections_max,
    // A caller who goes is noticed; until then only its deadline ends a call.
    waitMs: DEADLINE_MAX_MS,
  })
