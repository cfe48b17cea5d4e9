/** The unmodified TypeScript SDK in front of the door: as against the API itself. */
import { typeOfStatus } from '#contracts/api-errors'
import Anthropic from '@anthropic-ai/sdk'
import { afterEach, describe, expect, test } from 'vitest'
import { openDoor, params, type Door } from '../support/door.ts'
import { refused } from '../simulated-provider/fault-table.ts'
import { faultKinds, type FaultKind } from '../../services/simulated-provider/faults.ts'

let door: Door
afterEach(() => door.close())

/** One attempt, so that what the upstream says is what the caller hears. */
const ONCE = 'lanes: { interactive: { max_attempts: 1 } }'

/** How a call failed, as the SDK tells it. */
async function failure(asked: Promise<unknown>) {
  try {
    await asked
  } catch (error) {
    if (!(error instanceof Anthropic.APIError)) throw error
    const { status, type, errorCode, headers } = error
    const named = error.constructor.name
    return { error, named, status, type: type ?? null, code: errorCode ?? null, headers }
  }
  throw new Error('it did not fail')
}

describe('every error class is raised as against the API', () => {
  for (const [kind, row] of Object.entries(refused)) {
    test(`${kind}: ${faultKinds[kind as FaultKind].means}`, async () => {
      door = await openDoor({ yaml: ONCE })
      const spec = { ...row.spec, kind: kind as FaultKind }
      door.provider.fault(spec)
      const direct = await failure(door.direct().messages.create(params()))
      const through = await failure(door.sdk().messages.create(params()))
      const told = ({ named, status, type, code }: typeof direct) => ({ named, status, type, code })
      expect(told(through)).toEqual(told(direct))
      expect(through.error).toBeInstanceOf(row.sdk)
      expect(through.headers?.get('request-id')).toMatch(/^(req|r)_/)
    })
  }

  const PAGES: FaultKind[] = ['too_large_413', 'bad_gateway_502', 'unavailable_html_503']
  for (const kind of [...PAGES, 'origin_timeout_524'] as FaultKind[])
    test(`a page of the edge keeps its status and class, and becomes JSON: ${kind}`, async () => {
      door = await openDoor({ yaml: ONCE })
      door.provider.fault({ kind })
      const direct = await failure(door.direct().messages.create(params()))
      const through = await failure(door.sdk().messages.create(params()))
      expect([through.named, through.status]).toEqual([direct.named, direct.status])
      expect(through.type).toBe(typeOfStatus(through.status ?? 0))
    })

  test('a first error event of a stream becomes the status that it should have had', async () => {
    door = await openDoor({ yaml: ONCE })
    door.provider.fault({ kind: 'error_event_first' })
    const through = await failure(door.sdk().messages.create(params({ stream: true })))
    expect(through).toMatchObject({ named: 'OverloadedError', status: 529 })
  })

  test('an error event in a stream is raised where it stands', async () => {
    door = await openDoor({ yaml: ONCE, provider: { outputTokens: 200 } })
    door.provider.fault({ kind: 'error_event_late' })
    const read = async () => {
      const seen: string[] = []
      const stream = await door
        .sdk()
        .messages.create({ ...params({ max_tokens: 500 }), stream: true })
      for await (const event of stream) seen.push(event.type)
      return seen
    }
    const through = await failure(read())
    expect(through).toMatchObject({ named: 'APIError', type: 'overloaded_error' })
  })

  test('nobody listening, and no key: 401 in the words of the API', async () => {
    door = await openDoor({ yaml: `tenants: { acme: { keys: ["${KEY_HASH}"] } }` })
    const through = await failure(door.sdk({ apiKey: 'wrong' }).messages.create(params()))
    expect(through).toMatchObject({
      named: 'AuthenticationError',
      status: 401,
      type: 'authentication_error',
    })
    expect(through.headers?.get('x-should-retry')).toBe('false')
  })
})

/** sha256 of `hg_test`. */
const KEY_HASH = 'sha256:c543f820d5b52482f99a91b1de921d14703063f41334cf6d22e8fe3cdd1ca992'
