/** Message batches through the door, by the unmodified Python SDK. Skipped, with one line that says why, where there
 *  is no Python or its packages cannot be had. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openBatchDoor, type BatchDoor } from '../support/batch-door.ts'
import { params } from '../support/door.ts'
import { openPythonSdk } from '../support/python.ts'

const python = await openPythonSdk()
afterAll(() => python?.close())

describe.skipIf(python === null)('the Python SDK', () => {
  let door: BatchDoor
  beforeAll(async () => {
    door = await openBatchDoor()
  })
  afterAll(() => door.close())

  for (const client of ['sync', 'async'] as const)
    test(`${client}: creates, polls, lists, reads the results of and deletes a batch`, async () => {
      const call = async (method: string, args: unknown[], more: object = {}) => {
        const options = { base_url: door.url, api_key: 'any', max_retries: 0 }
        const asked = { client, options, do: `messages.batches.${method}`, args, params: more }
        const end = await python?.call(asked)
        if (end === undefined || 'error' in end) throw new Error(JSON.stringify(end))
        return end.ok.body
      }
      const requests = ['a', 'b'].map((custom_id) => ({ custom_id, params: params() }))
      const created = await call('create', [], { requests })
      expect(created).toMatchObject({ type: 'message_batch', processing_status: 'in_progress' })
      const id = String(created['id'])
      for (let status = ''; status !== 'ended';) {
        status = String((await call('retrieve', [id]))['processing_status'])
        await new Promise((resolve) => setTimeout(resolve, 20))
      }
      expect(await call('list', [], { limit: 1 })).toMatchObject({ data: [{ id }], last_id: id })
      const lines = (await call('results', [id])) as unknown as Record<string, unknown>[]
      expect(lines.map((line) => line['custom_id']).toSorted()).toEqual(['a', 'b'])
      for (const line of lines) expect(line).toMatchObject({ result: { type: 'succeeded' } })
      expect(await call('cancel', [id])).toMatchObject({ processing_status: 'ended' })
      expect(await call('delete', [id])).toEqual({ id, type: 'message_batch_deleted' })
    })
})
