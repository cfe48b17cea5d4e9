/** The knobs of a fleet: instances behind one NATS that divide one set of limits. */
import { z } from 'zod'
import { LAWS, knob, token } from './config-knob.ts'

export const fleetFile = z
  .strictObject({
    enabled: knob(z.boolean().default(true), {
      why: 'instances of one subject prefix divide the limits of one; false: this one takes all of them, whoever else runs',
      source: `${LAWS} §14`,
      takes: 'restart',
    }),
    member: knob(token.optional(), {
      why: "this instance's name in the fleet, the same after a restart: who comes back under it takes over what it held. Absent: made of the host, its start and the operator's port",
      source: `${LAWS} §14`,
      takes: 'restart',
    }),
  })
  .prefault({})
