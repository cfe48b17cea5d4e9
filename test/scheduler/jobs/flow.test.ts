/** Where a flow reads on. */
import { describe, expect, test } from 'vitest'
import { Flow } from '../../../services/scheduler/jobs/flow.ts'

describe('a job that is given back', () => {
  test('is read again from its place on', () => {
    const flow = new Flow({ lane: 'batch', tenant: 'acme' })
    flow.cursor = 9
    flow.drained = true
    flow.again({ seq: 4, notBeforeMs: 0 })
    expect([flow.cursor, flow.idle, flow.due]).toEqual([4, false, []])
  })

  test('is due again, once, where it waited for its time: no reading from a place on finds it', () => {
    const flow = new Flow({ lane: 'batch', tenant: 'acme' })
    flow.cursor = 9
    flow.drained = true
    flow.again({ seq: 4, notBeforeMs: 200 })
    flow.again({ seq: 4, notBeforeMs: 200 })
    expect([flow.cursor, flow.idle, flow.due]).toEqual([9, false, [4]])
  })
})
