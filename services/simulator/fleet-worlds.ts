/** The kinds of worlds in which a fleet is tried (control-laws S9). */
import type { Millis } from '#ports'

export interface FleetWorldOptions {
  seed: number
  whole: number
  /** Limits of the routes, by id: one or two. */
  routes: ReadonlyMap<string, number>
  members: number
  membersMax: number
  seconds: number
  /** Chances of each member or of the store, per 100 ms. */
  chances: {
    join: number
    crash: number
    leave: number
    /** Cut off from the store; each step 0.01 to heal. */
    cutOff: number
    /** Stands still, for up to 45 s. */
    freeze: number
    redraw: number
    /** The store is away for all, for up to 60 s. */
    away: number
    /** The store loses the record. */
    lose: number
  }
  /** Of one leg to the store and back, most. */
  delayMs: Millis
  /** The store is away for all, once; absent: only by chance. */
  awayFor?: { from: Millis; ms: Millis }
}

const NONE = { join: 0, crash: 0, leave: 0, cutOff: 0, freeze: 0, redraw: 0, away: 0, lose: 0 }
const S9 = {
  ...{ whole: 60, members: 3, membersMax: 6, seconds: 400 },
  routes: new Map([['only', 60]]),
}

/** S9 of the control laws. */
const calmFleet = (seed: number): FleetWorldOptions => ({
  ...{ ...S9, seed, delayMs: 50 },
  chances: { ...NONE, join: 0.0005, redraw: 0.0005 },
})
const slowFleet = (seed: number): FleetWorldOptions => ({ ...calmFleet(seed), delayMs: 500 })
/** As S9 says. */
const chaosFleet = (seed: number): FleetWorldOptions => ({
  ...{ ...S9, seed, delayMs: 50 },
  chances: { ...NONE, join: 0.002, crash: 0.0004, cutOff: 0.001, redraw: 0.003 },
})
/** And beyond: members stand still and leave, the store goes away for everybody and loses the record. */
const stormyFleet = (seed: number): FleetWorldOptions => ({
  ...chaosFleet(seed),
  chances: {
    ...chaosFleet(seed).chances,
    ...{ leave: 0.0002, freeze: 0.0003, away: 0.0002, lose: 0.0001 },
  },
})

const TWO = {
  whole: 100,
  routes: new Map([
    ['large', 40],
    ['small', 20],
  ]),
}
/** The same with two routes, of which members want one alone, or the other, or some of each. */
const calmRoutes = (seed: number): FleetWorldOptions => ({ ...calmFleet(seed), ...TWO })
const stormyRoutes = (seed: number): FleetWorldOptions => ({ ...stormyFleet(seed), ...TWO })

export const FLEET_WORLDS = {
  calm: calmFleet,
  'slow store': slowFleet,
  chaos: chaosFleet,
  stormy: stormyFleet,
  'calm, two routes': calmRoutes,
  'stormy, two routes': stormyRoutes,
}
