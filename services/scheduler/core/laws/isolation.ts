/** Keeps one sick route from taking the slots that the others live on (control-laws §5, decisions/0013).
 *
 *  A provider that hangs answers nothing and refuses nothing: for a minute every arrival on its route takes a
 *  slot and keeps it, until no other route can start. So what a route's own callers need, by Little's law
 *  arrivals times usual service, is kept for it: a route that has its own may take only what the others are
 *  not short of. Callers that go leave nothing behind after a few seconds, and a lone route is not touched.
 *  Bound: at most 1 - 1 / routes of the slots are ever kept; O(1) per start, O(routes) per tick. */
import type { Seconds } from '#contracts/units'
import { slotsOf } from '#core/model/share'
import type { Route, State } from '#core/model/state'

/** Slots that a route is short of and could use. */
export const lacking = (route: Route): number =>
  Math.max(0, Math.min(route.reserve.slots, route.limit, route.gate.cap) - route.inflight)

/** Slots that are kept from this route for the others; none while it is short itself. */
export const keptForOthers = (state: State, route: Route): number =>
  lacking(route) > 0 ? 0 : state.lacking

/** A route's attempts in flight have become one more, or one fewer. */
export function inflightBy(state: State, route: Route, by: 1 | -1): void {
  state.lacking -= lacking(route)
  route.inflight += by
  state.lacking += lacking(route)
}

/** Once a second, and when a limit has moved or a route has gone: then no time has passed. */
export function reviewReserves(state: State, elapsed: Seconds): void {
  const { routes, config } = state
  const { priors } = config.file
  const usual = priors.ttft_ms / 1_000 + priors.output_tokens / priors.tokens_per_s
  const most =
    routes.size < 2
      ? 0
      : Math.floor(Math.min(config.maxInflight, slotsOf(state.share, state.now)) / routes.size)
  state.lacking = 0
  for (const route of routes.values()) {
    route.reserve.review(elapsed, most, usual)
    state.lacking += lacking(route)
  }
}
