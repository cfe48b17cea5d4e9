/** What may grow, and how far: bodies, jobs, results, cached answers, events; and what NATS is asked. */
import { z } from 'zod'
import { ASKED, LAWS, LONGEST, WIRE, int, knob, ms, real } from './config-knob.ts'

/** Anything wider could reach the server's own subjects, or nobody. */
const REPLY_PREFIX = /^[A-Za-z_][A-Za-z0-9_<>-]*\.([A-Za-z0-9_<>-]+\.)*$/
const REPLY_PREFIX_SHAPE =
  'expected subject tokens that end with a dot, such as _INBOX. or _INBOX_<tenant>.'

export const limitsFile = z
  .strictObject({
    request_bytes: int({
      default: 33_554_432,
      min: 1_000,
      max: 64_000_000,
      unit: 'bytes',
      why: 'largest body, as the API has it; less where it comes over NATS and the server takes less',
      source: 'decisions/0043',
      takes: 'restart',
    }),
    queued_bytes: int({
      default: 1_000_000_000,
      min: 1_000_000,
      max: 100_000_000_000,
      unit: 'bytes',
      why: 'bodies of all live requests together; past it arrivals are refused queue_full',
      source: 'architecture: nothing grows without a bound',
    }),
    tenant_bytes: int({
      default: 500_000_000,
      min: 1_000,
      max: 100_000_000_000,
      unit: 'bytes',
      why: "bodies of one tenant's live requests; so that no tenant alone can take all of queued_bytes",
      source: 'architecture: nothing grows without a bound',
    }),
    accounts_max: int({
      default: 200_000,
      min: 1,
      max: 10_000_000,
      unit: 'tenants',
      why: 'tenants with limits whose use is remembered; past it further ones without a name of their own share one',
      source: 'architecture: nothing grows without a bound',
    }),
    header_bytes: int({
      default: 65_536,
      min: 1_024,
      max: 1_000_000,
      unit: 'bytes',
      why: 'largest headers of a message; more is refused unread',
      source: 'architecture: nothing grows without a bound',
      takes: 'restart',
    }),
    json_depth: int({
      default: 256,
      min: 16,
      max: 1_000,
      unit: 'levels',
      why: 'objects and lists of a body that stand open together; no schema of a tool comes near it',
      source: 'architecture: nothing grows without a bound',
    }),
    json_values: int({
      default: 1_000_000,
      min: 10_000,
      max: 100_000_000,
      unit: 'values',
      why: 'members of all lists and objects of a body; ten for each of the 100,000 messages that the API takes',
      source: 'architecture: nothing grows without a bound',
    }),
    idle_ms: ms({
      default: 60_000,
      min: 10,
      max: 3_600_000,
      why: 'no byte for this long after the first is a hang',
      source: `${LAWS} §2, ${ASKED} R5`,
    }),
    first_byte_max_ms: ms({
      default: 60_000,
      min: 10,
      max: 3_600_000,
      why: "longest wait for a first byte; half the lane's timeout if that is less",
      source: `${LAWS} §2, ${ASKED} R5`,
    }),
  })
  .prefault({})

export const natsFile = z
  .strictObject({
    reply_prefixes: knob(
      z
        .array(z.string().max(128).regex(REPLY_PREFIX, { error: REPLY_PREFIX_SHAPE }))
        .min(1)
        .max(20)
        .default(['_INBOX.', '_INBOX_<tenant>.', '_R_.']),
      {
        why: 'where an answer may be sent; anything else could reach another tenant or the server itself',
        source: `${WIRE}: An error`,
        takes: 'file',
      },
    ),
    egress_connections: int({
      default: 2,
      min: 1,
      max: 16,
      unit: 'connections',
      why: 'answers are spread over these by tenant, so that one frozen reader does not delay all',
      source: 'nats-server #5394, measured',
      takes: 'restart',
    }),
    ping_ms: ms({
      default: 5_000,
      min: 100,
      max: 5_000,
      why: 'a streamed caller hears a ping at least this often, and a vanished one is noticed',
      source: `${WIRE}: A request`,
      takes: 'file',
    }),
  })
  .prefault({})

export const cacheFile = z
  .strictObject({
    ttl_seconds: int({
      default: 3_600,
      min: 1,
      max: 604_800,
      unit: 's',
      why: 'how old an answer may be that stands in for a refused call',
      source: `${LAWS} §13, ${ASKED} R16`,
      takes: 'restart',
    }),
    answer_bytes: int({
      default: 500_000,
      min: 1_000,
      max: 8_000_000,
      unit: 'bytes',
      why: 'the largest answer that is kept',
      source: 'architecture: nothing grows without a bound',
      takes: 'restart',
    }),
    bytes_max: int({
      default: 100_000_000,
      min: 1_000_000,
      max: 100_000_000_000,
      unit: 'bytes',
      why: 'all kept answers; past it the oldest go',
      source: 'architecture: nothing grows without a bound',
      takes: 'restart',
    }),
    tenant_bytes: int({
      default: 25_000_000,
      min: 1_000,
      max: 100_000_000_000,
      unit: 'bytes',
      why: "one tenant's answers, where they are kept in memory; past it its own oldest go",
      source: 'architecture: nothing grows without a bound',
      takes: 'restart',
    }),
  })
  .prefault({})

export const metricsFile = z
  .strictObject({
    tenants_max: int({
      default: 200,
      min: 1,
      max: 10_000,
      unit: 'labels',
      why: 'busiest tenants with a label of their own; the rest are `other`',
      source: `${WIRE}: Metrics`,
    }),
  })
  .prefault({})

export const eventsFile = z
  .strictObject({
    buffer: int({
      default: 1_000,
      min: 10,
      max: 1_000_000,
      unit: 'events',
      why: 'last events kept in memory for a reader that joins late',
      source: 'architecture: nothing grows without a bound',
      takes: 'restart',
    }),
  })
  .prefault({})

export const guardrailsFile = z
  .strictObject({
    window_seconds: int({
      default: 300,
      min: 10,
      max: 3_600,
      unit: 's',
      why: 'observation window',
      source: `${ASKED} R20`,
    }),
    min_samples: int({
      default: 50,
      min: 1,
      max: 100_000,
      unit: 'requests',
      why: 'fewer say nothing',
      source: `${LAWS} §2`,
    }),
    ratio_429: real({
      default: 0.02,
      min: 0,
      max: 1,
      why: '429 answers per attempt',
      source: `${ASKED} R20`,
    }),
    p95_e2e_ms: int({
      default: 8_000,
      min: 1,
      max: LONGEST,
      unit: 'ms',
      why: 'end to end of lanes that are not preemptible, queue wait included',
      source: `${ASKED} R20`,
    }),
    retry_amplification: real({
      default: 1.3,
      min: 1,
      max: 100,
      why: 'attempts per request that started',
      source: `${ASKED} R20`,
    }),
  })
  .prefault({})
