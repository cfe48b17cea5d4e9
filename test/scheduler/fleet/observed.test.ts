/** What the record keeps of a member that may use its safe part only (control-laws §14). */
import { expect, test } from 'vitest'
import { PARTS } from '#core/laws/route-shares'
import { safePart } from '#core/laws/shares'
import { Observed, swept, type SeenMember } from '#scheduler/fleet/observed'
import { newRecord, type FleetLine } from '#scheduler/fleet/record'

const WHOLE = 100
const cutOff: FleetLine = {
  ...{ incarnation: 'i', seq: 1, lease: 10_000, held: 50, want: 50, inflight: 0, whole: WHOLE },
  ...{ config: 'c', version: '1', leaving: false, limits: {} },
  routes: { x: { held: 700, want: 900 }, y: { held: 10, want: 0 } },
}
const safe = {
  held: safePart(WHOLE),
  routes: { x: { held: safePart(PARTS), want: 900 }, y: { held: 10, want: 0 } },
}

test('of one that is silent: its safe part of the whole and of each route', () => {
  const record = { ...newRecord('r', true), members: { cutOff } }
  const seen: SeenMember = { name: 'cutOff', line: cutOff, standing: 'safe', silentFor: 60_000 }
  expect(swept(record, [seen], WHOLE).members['cutOff']).toMatchObject(safe)
  expect(swept(record, [{ ...seen, standing: 'silent' }], WHOLE)).toEqual(record)
})

test('of one that a record made anew does not name: the same', () => {
  const observed = new Observed()
  observed.note({ ...newRecord('before', true), members: { cutOff } }, 0)
  const anew = newRecord('anew', false)
  observed.note(anew, 1)
  expect(observed.withMissing(anew, 'me', WHOLE).members['cutOff']).toMatchObject(safe)
})
