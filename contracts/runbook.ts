/** What an operator can do about each thing that a Headgate finds wrong: one text, for the page, the terminal,
 *  the operations page and `/runbook` of the operator's port. */

import { waitReasons, WAIT_REASONS } from './waiting.ts'

export interface RunbookEntry {
  title: string
  /** What is true, and what it does to callers. */
  means: string
  /** What to do, in a sentence: it stands beside the finding. */
  act: string
  /** How, for who has time to read: where to look, which command. Markdown without headings. */
  more: string
}

const entry = (title: string, means: string, act: string, more: string): RunbookEntry => ({
  title,
  means,
  act,
  more,
})

export const runbook = {
  no_answer: entry(
    'The upstream does not answer',
    'Calls in flight have had no byte for much longer than this model usually needs, and nobody else on the route has had one either. Callers run into their deadlines (504). When it goes on, the breaker opens.',
    'look at the status page of the upstream and at the way to it (proxy, firewall, DNS); nothing needs a restart',
    'Ask the upstream from the same machine: `headgate doctor --upstream` makes one small call on the same way and says what comes of it. An answer there and none here points at what differs: the key, the machine, its network. Callers that opted in are served by a `fallback` model meanwhile. If this model really takes so long, for very long prompts say, `limits.first_byte_max_ms` bounds how long an answer may be waited for.',
  ),
  failing: entry(
    'Calls fail at the upstream',
    'A good part of the attempts of the last seconds failed with what is named: 529 or 503 (overloaded), another 5xx, a connection that was not had or broke, silence, or a key refused. They are retried within the retry budget; the limit shrinks; if it goes on, the breaker opens.',
    'look at the status page of the upstream and at what is named; offer a fallback to callers that cannot wait',
    '`headgate_attempts_total{status}` by model shows when it began. 529 is the capacity of the model, not your quota: more retries, or a restart, make it worse. A connection that is not had points at DNS, a proxy or a firewall. 401 and 403 point at the key and what it may do.',
  ),
  breaker: entry(
    'A breaker is not closed',
    'So many attempts of the route failed that nothing, or only a few probes, are started there; it closes by itself when they succeed. Requests wait, go down their ladder, or are refused with `breaker_open`.',
    'see what the failures are (529, 5xx, silence), and wait or offer a fallback; restarting only forgets what was learned',
    "`headgate top` and the page's state machines show each move with its reason; `headgate_attempts_total{status}` says which answers came. Nothing on our side closes a breaker sooner: it tests the upstream after about 15 s, and again after each failed test.",
  ),
  key_refused: entry(
    'The upstream refuses the key',
    'The upstream answers 401: the key is wrong, expired or withdrawn. Every request of this upstream is refused at once; one call every 15 s tests it.',
    'put a key in force that works, restart with it, or if the old one was restored: `headgate upstream`, which tests at once',
    'The key stands in the variable that `upstreams.<name>.api_key_env` names (`ANTHROPIC_API_KEY`). `headgate doctor --upstream` tries the key of its own environment with one small call. A changed environment needs a restart: start a second instance with the new key, then stop this one. If the key was only switched off at the provider and is on again, nothing but a test is needed, and that comes by itself within 15 s.',
  ),
  spend_limit: entry(
    'The account has reached its spending limit',
    'The upstream says that the account, or a limit set on it, may spend no more. Every request of this upstream is refused at once; it is tested every 15 minutes.',
    'raise the limit or pay at the provider, then `headgate upstream` to test at once',
    "The provider's console names the limit that was reached (organization, workspace or key). Callers are told `upstream_blocked` with when it will be tested next.",
  ),
  account_stopped: entry(
    'The upstream has stopped the account',
    'The upstream refuses the account itself (on hold, payment required). Every request of this upstream is refused at once; it is tested every 15 minutes.',
    'settle it with the provider, then `headgate upstream` to test at once',
    'The status and a short cause stand in the log line of the alarm `upstream_blocked`; the words of the upstream go to callers only.',
  ),
  quota_used_up: entry(
    'The quota is used up',
    'The upstream answered 429 and asked to stay away for a while. Nothing starts on these routes until then; limit and breaker stay as they are.',
    'nothing now; if it comes back, ask the provider for more, or set `rpm`, `itpm`, `otpm` to what is yours',
    'If others use the same key or organization, give this Headgate its part of the limits per minute. [Quota pacing](#quota-pacing-configured-and-learned-limits) says where a limit comes from; [the first question](#when-something-is-wrong) says whose the 429s are.',
  ),
  quota_pacing: entry(
    'Requests are paced by the quota',
    'The tokens or requests per minute are nearly used up, so starts are spread in time. No 429 comes; requests wait.',
    'raise the limits at the provider, or move bulk to another hour or model',
    '`headgate_quota_level` near 0 says which dimension; `buckets` of `/api/snapshot` has the numbers.',
  ),
  nats_lost: entry(
    'The connection to NATS is lost',
    'Programs that publish reach nobody here, and answers to them wait for the line. Callers of an HTTP door in this process are served as before.',
    'see whether the nats-server runs and can be reached; the connection comes back by itself',
    '`headgate doctor` on this machine says what it finds. What was sent meanwhile is lost to its sender, who hears "no responders" or runs into a timeout. `/readyz?door=nats` is 503 until it is back; another instance that is connected takes over by itself.',
  ),
  draining: entry(
    'The instance is draining',
    'It refuses new and queued requests with `draining` and lets running ones end. Callers may try again at once, at another instance.',
    'stop it when nothing is in flight, or start its successor if there is none; only a restart ends a drain',
    '[Stopping and rolling deploys](#stopping-and-rolling-deploys) has the order. If nobody meant to drain it, look who sent `llm.v1.admin.drain` or SIGTERM.',
  ),
  overloaded: entry(
    'Degraded: more is asked than the upstream bears',
    'The limits have fallen far below what they carried in the last 24 hours while urgent work needs them. Level 1: batch has its minimum share, and what the others left; 2: batch has what the others left; 3: arrivals are shed.',
    'find out why the limits fell; at level 3 take load away: pause a lane, or give the heaviest tenant a `max_inflight`',
    '[What the levels mean](#what-the-degradation-levels-mean-and-what-to-do). It goes back by itself 30 s after the reason is gone.',
  ),
  ratio_429: entry(
    'Guardrail: too many 429',
    'More attempts end in 429 than the budget allows. It changes no control; it says that the quota and the load do not fit.',
    "see whose they are: one model or tenant whose rate is far above the others', or the account as a whole",
    'Bound: `guardrails.ratio_429`, over `guardrails.window_seconds`, so that it lasts for a while after its cause is over.',
  ),
  p95_e2e_ms: entry(
    'Guardrail: answers take too long',
    'One in twenty requests of urgent lanes takes longer from arrival to answer than the budget allows.',
    'see what holds the requests that wait; if nothing waits, the upstream itself is slow',
    'Bound: `guardrails.p95_e2e_ms`. [Why does it wait](#why-does-it-wait) lists each bound and what to do about it.',
  ),
  retry_amplification: entry(
    'Guardrail: too many attempts per request',
    'Requests are tried more often than the budget allows: something fails that retrying does not mend. The retry budget keeps it finite.',
    'see what is retried and why, and mend that',
    'The log lines `request.retrying` say status and cause. Bound: `guardrails.retry_amplification`.',
  ),
  limit_lowered: entry(
    'The concurrency limit binds after congestion',
    'The upstream was congested, the limit of the route was lowered, and requests wait for it. It grows again with each healthy second.',
    'nothing: it grows back by itself; `concurrency_limit.initial` and `ceiling` bound it',
    'Each move stands in the event `limit` with its reason, and under "Control over time" on the page.',
  ),
  ramp_held: entry(
    'The upstream asks for a slower ramp',
    'It answered `ramp_limit_exceeded`: the load grew faster than it allows. The limit does not grow for a while.',
    'nothing: it grows again by itself; let bulk work begin more slowly',
    'Work that comes in bursts belongs in a preemptible lane, which fills slowly.',
  ),
  queues_long: entry(
    'Requests wait for long',
    'Somebody has waited longer than a person would accept, or every slot is in use. The finding names the bound that holds most of them.',
    'see the bound that is named, and raise it if the upstream and the other tenants bear that',
    '[Why does it wait](#why-does-it-wait) lists each bound and what to do about it. `headgate status <tenant> <id>` says it of one request.',
  ),
  wait_inflating: entry(
    'Queue wait is inflating',
    'Requests of the named lanes wait several times as long as they did a few minutes ago.',
    'see what holds them; if load has grown, give it less urgency or more room before deadlines are missed',
    '`headgate_queue_wait_ms_p95` by lane shows when it began.',
  ),
  jobs_store_lost: entry(
    'The store of durable jobs does not answer',
    'JetStream does not answer, or its streams are not there. No job is accepted (callers hear `queue_full` and may submit the same id again), none is begun, results wait in memory to be stored. Requests work as ever.',
    'see whether JetStream runs: `nats server check jetstream`, `nats stream ls`, disk, quorum; it goes on by itself',
    "`jobs.store.last_error` of `/api/snapshot` says when it failed last. A cluster that has lost the majority of a stream's replicas answers no write until it is back. Streams that were deleted are made again, empty: [restore them](#backup-and-restore) before you let Headgate write. An instance that cannot say that it lives for 6 s is taken for dead by the others, once they can read again.",
  ),
  jobs_store_full: entry(
    'The store of durable jobs is full',
    'A write was refused for want of room, or less than 5 % of `jobs.backlog_bytes` is left. New jobs are refused `queue_full`. Of `jobs.backlog_bytes` a twentieth (64 MB at most) is kept for the claims of the jobs that are there, so that they are worked off; where the server or the account is full instead, claims and results wait for room.',
    'give it room: raise `max_bytes` of the stream or the room of the server, then look why the backlog grows',
    '`nats stream edit HEADGATE_JOBS_llm --max-bytes=…` takes effect at once; set `jobs.backlog_bytes` to the same. Without it the bound is the `max_file_store` of the server, or the limit of the account. [Sizing](#sizing) has the bytes of a job. `headgate_jobs_stored` by lane and the page by tenant say whose they are.',
  ),
  jobs_dead: entry(
    'Dead letters grow',
    'Durable jobs were given up within the last ten minutes: each has its one result, an error, and is kept for `results.dead_max_age` with the reason.',
    'see the reasons, and mend what they have in common',
    "The log line `a job is given up` names tenant, id and reason; `nats stream view HEADGATE_DEAD_llm` shows what is kept (with the prompts: it is nobody else's to read). `claims_exhausted`: `jobs.claims_max` instances died while they made a call of it; look at what killed them. `may_have_acted`: an instance died in a call that may have run tools; whether it did is for its caller to say (`headgate jobs requeue` makes it again). `retries_exhausted`: the upstream. `result_too_large`: `max_payload` of the server. `unknown_lane`: a lane went from the file while it had jobs. `unreadable`: the bounds of a body became narrower.",
  ),
  jobs_old: entry(
    'The oldest job of a lane is old',
    "It was accepted more than half of the lane's `timeout_ms` ago and has no result. Jobs without a deadline of their own run into the lane's.",
    'see what holds the lane: pause, breaker, quota, slots; if only the load is too much, raise the limits or the deadline',
    "`headgate_jobs_oldest_ms` beside `headgate_jobs_expected_ms` by lane; [Why does it wait](#why-does-it-wait) for those in the scheduler. A job that other instances had and that is in nobody's hands is taken when they have been unheard for 6 s.",
  ),
  budget_low: entry(
    'A budget is nearly used up',
    'Four fifths of what the tenant may use in its day or month are drawn. Nothing is refused yet.',
    'tell its owner, or give it more: `headgate budgets add`',
    '`headgate budgets --tenant NAME` says how much is left of what; `headgate usage --tenant NAME --by day,model` says for what it went. Drawn is used, or in the hands of instances, which give back what they do not need. The event `budget` says the same once in each window, for programs.',
  ),
  budget_end: entry(
    'A budget is used up',
    'Nothing is left of what the tenant may use in its day or month. Its calls wait, are given a lesser answer that they allow, or are refused with `budget_exhausted` (402), as the `edge` of the budget says; its durable jobs wait in the store. The others do not feel it.',
    'nothing if that is what the budget is for; else give it more for this window: `headgate budgets add`, or raise it in the file',
    '`headgate budgets add NAME 5 --span day --unit usd` is heard within 5 s where calls wait, else with the next one. `tenants.<name>.limits.budget` raises it for good ([limits and budgets](#limits-and-budgets)). A budget that ends much sooner than planned: `headgate usage --tenant NAME --by day,model`. This holds while the tenant asks; of one that has stopped asking `headgate budgets` tells.',
  ),
  fleet_lapsed: entry(
    'The lease of an instance has run out',
    'The instance named could not write its line into the record of the fleet for 10 s, or at its start never could. It uses a twentieth of the slots for five minutes, then starts nothing; preemptible calls above that are ended at once, the others end within 30 s. Meanwhile the others keep its share for it.',
    'see whether this instance reaches NATS and JetStream, and whether its process or its machine stood still; it goes on by itself',
    '`fleet.trouble` of `/api/snapshot` and the log line that begins with `fleet:` say why; `fleet.usable` is what it may use now. `headgate doctor` on its machine tries the way. Where every instance says this, it is the store: `nats stream info KV_headgate_fleet_llm`, disk, quorum. Where one does, it is the way there, or pauses of that process: `headgate_event_loop_stall_ms`. Restarting it helps only if it stands still: a new one needs the same record.',
  ),
  fleet_silent: entry(
    'A member of the fleet is not heard',
    'A member has written nothing for longer than its lease and has not said that it goes. Nobody can know whether its calls still run, so its share is kept for it until 43 s after its last word, then its safe part for five minutes more. The others have so much less.',
    'see whether its process is there: start it again under the name that it had, or leave it, and its share comes back by itself',
    'Who starts again at the same host and port, or under the same `fleet.member`, takes over the share at once; a pod that gets another name with each start does not ([how](#a-fleet-of-your-own)). Where the process is there, it is cut off from NATS or stands still: it tells so itself, on its own port. Members on the same host see a process that has ended, and wait for nothing.',
  ),
  fleet_config_differs: entry(
    'Configurations of the fleet differ',
    'The member named was started with, or has reloaded, a configuration that differs in what must be equal: lanes, tenants, limits, routes, prices. Of the global limits the least holds; all else each applies to its own part, so that tenants are served differently from one instance to the next.',
    'bring the same file to every instance; each reads it again within seconds, without a restart',
    'For the minutes of a rollout this is as it should be. After that, compare the files: `sha256sum` on each host, or the ConfigMap of each pod. An instance that says `config_refused` goes on with its older file. The emergency block counts too, in the moment in which only some have heard of it.',
  ),
  fleet_superseded: entry(
    'Two instances have one name in the fleet',
    'Another process came under the name that this one was given, and was taken for its successor. This one gave up its share, took another name and began anew with nothing; both serve.',
    'give each instance a `fleet.member` (or `HEADGATE_FLEET_MEMBER`) of its own, and restart one of them',
    'Without `fleet.member` the name is host and port: two containers with one host name have the same. It ends when one of the two is gone.',
  ),
  emergency: entry(
    'The emergency block is on',
    'Somebody switched it on: shorter deadlines, fewer attempts, less concurrency, on every instance, until it is switched off.',
    '`headgate emergency off` when the reason for it is gone',
    '[The emergency switch](#the-emergency-switch) says what it changes. With JetStream it outlives restarts.',
  ),
  config_refused: entry(
    'The configuration file is refused',
    'The file was changed, and as it stands it cannot be put in force: the one before it goes on. A restart now would fail.',
    'correct the file; `headgate doctor --config FILE` says which line, as the log does',
    'It is read again by itself within seconds of the next change, and is in force as a whole or not at all.',
  ),
  lane_paused: entry(
    'A lane is paused',
    'Somebody paused it: it keeps its queue and its running attempts and starts nothing. What waits in it runs into its deadlines.',
    'resume it on the page under Acts, or by `llm.v1.admin.lane` with `"paused":false`',
    'With JetStream the pause outlives restarts.',
  ),
  fault_on_purpose: entry(
    'A fault of the simulated provider',
    'Somebody set a fault of the simulated provider, to see what happens.',
    'nothing: it ends by itself; "End all faults" on the page under Acts ends it now',
    'This can only happen where every upstream is the simulated provider.',
  ),
  alarm: entry(
    'An alarm',
    'Something that should not happen did: its name and detail say what.',
    'read the log line of the same time; an alarm about an abort is worth an issue',
    'Names: `upstream` and `upstream_blocked` (what the upstream said of the account), `abort_unconfirmed` (a connection that did not close in time), and others of the log.',
  ),
} as const satisfies Record<string, RunbookEntry>

export type RunbookKind = keyof typeof runbook
export const RUNBOOK_KINDS = Object.keys(runbook) as RunbookKind[]

/** Each reason for waiting, with what can be done about it. */
export const waitReasonRows = (): { reason: string; means: string; act: string }[] =>
  WAIT_REASONS.map((reason) => ({
    reason,
    means: waitReasons[reason].means,
    act: waitReasons[reason].act ?? 'nothing needs doing',
  }))

/** The block of the operations page. @public `npm run generate` calls it. */
export const renderRunbook = (): string =>
  RUNBOOK_KINDS.map((kind) => {
    const { title, means, act, more } = runbook[kind]
    return `#### ${title}\n\n${means}\n\n**What to do:** ${act}.\n\n${more}\n`
  }).join('\n')
