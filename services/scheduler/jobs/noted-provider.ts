/** The provider, before which each call of a job is noted: so that whoever takes the job over knows that it may
 *  have run, and so that who lost it makes no call. A call of a request passes as it is. */
import type { Provider, RunningAttempt, Verdict } from '#ports'

export interface Notes {
  /** Null: no job of ours. Else whether the call may be made, as soon as that is known; never a rejection. */
  begin(tenant: string, id: string): Promise<boolean> | null
  /** The call is over. */
  ended(tenant: string, id: string): void
}

/** Nothing left this process. */
const UNSENT: Verdict = {
  kind: 'ended',
  status: null,
  errorType: null,
  cause: 'not_sent',
  retryAfterMs: null,
  requestId: null,
  usage: null,
  ttftMs: null,
  mayHaveRun: false,
  rate: null,
  body: null,
}

export function notedProvider(provider: Provider, notes: () => Notes | null): Provider {
  return {
    send(call, sink) {
      const { tenant, id } = call
      const room = notes()
      const noted = room?.begin(tenant, id) ?? null
      if (room === null || noted === null) return provider.send(call, sink)
      let running: RunningAttempt | null = null
      let over = false
      const end = (verdict: Verdict): void => {
        if (over) return
        over = true
        room.ended(tenant, id)
        sink.ended(verdict)
      }
      void noted.then((may) => {
        if (over) return
        if (!may) return end(UNSENT)
        running = provider.send(call, { ...sink, ended: end })
      })
      return {
        abort(why) {
          if (running === null) end(UNSENT)
          else running.abort(why)
        },
        seen: () => running?.seen?.() ?? { usage: null, requestId: null },
      }
    },
    aux: (call) => provider.aux(call),
    close: () => provider.close(),
  }
}
