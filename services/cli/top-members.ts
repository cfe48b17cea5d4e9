/** The other members of a fleet, asked by `headgate top` for what they do, beside the instance that it follows.
 *  Bound: one question to each at a time; what is kept of the answers is `HeardMembers`' to bound. */
import { HeadgateError, type Headgate } from '#client'
import { HeardMembers, MEMBERS_MAX } from '#contracts/heard-members'
import type { Snapshot } from '#contracts/snapshot'
import type { WholeFleet } from '#contracts/whole-fleet'

/** The picture waits so long for them; who answers later stands in the next one. */
const ANSWER_MS = 400

export interface AskingOptions {
  headgate: Pick<Headgate, 'admin'>
  /** `now` never jumps; `wall` is wall time. */
  clock: { now(): number; wall(): number }
  /** Waits for a promise, for so long. */
  within: (ms: number, promise: Promise<unknown>) => Promise<unknown>
}

/** Null: the instance that is followed works alone. */
export function askingMembers(of: AskingOptions): (own: Snapshot) => Promise<WholeFleet | null> {
  const { clock } = of
  const heard = new HeardMembers()
  /** Asked, and not answered yet. */
  const out = new Set<string>()
  const at = () => ({ now: clock.now(), wall: clock.wall() })
  const ask = async (instance: string): Promise<void> => {
    out.add(instance)
    try {
      heard.note(await of.headgate.admin('snapshot', { instance }), at())
    } catch (error) {
      // Who does not answer is shown so.
      if (!(error instanceof HeadgateError)) throw error
    } finally {
      out.delete(instance)
    }
  }
  return async (own) => {
    if (own.fleet === null) return null
    const others = own.fleet.members
      .filter((one) => !one.own && !out.has(one.instance))
      .slice(0, MEMBERS_MAX)
    await of.within(ANSWER_MS, Promise.all(others.map(({ instance }) => ask(instance))))
    return heard.whole(own, at())
  }
}
