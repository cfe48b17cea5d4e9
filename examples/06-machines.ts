/** I only want the breaker: no NATS, no Headgate, a state machine in my own program.
 *
 *  In a program of your own the import is `headgate/machines`; what else is in there: machines/README.md. */
import { createActor, SimulatedClock } from 'xstate'
import { breakerInput, breakerMachine, permits } from '#machines/machines'

// Leave the clock out, and real time passes.
const clock = new SimulatedClock()
const input = breakerInput({ random: Math.random, minSamples: 10 })
const breaker = createActor(breakerMachine, { input, clock }).start()
const gate = permits(breaker, { limit: () => 20, now: () => clock.now() })

const seen: string[] = [breaker.getSnapshot().value]
breaker.subscribe(({ value, context }) => {
  if (value === seen.at(-1)) return
  seen.push(value)
  console.log(`${clock.now() / 1_000} s: ${value} (${context.reason})`)
})

/** An upstream that is down for 30 s, asked twice a second. */
for (let call = 0; call < 240; call++) {
  gate.take()?.ended(clock.now() < 30_000 ? 'failed' : 'ok')
  clock.increment(500)
}

process.exitCode = seen.at(-1) === 'closed' && seen.includes('probing') ? 0 : 1
