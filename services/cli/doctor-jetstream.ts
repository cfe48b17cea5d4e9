/** What `headgate doctor` finds in JetStream: whether it is there, and whether the streams of durable jobs are what
 *  a scheduler counts on. It reads, and changes nothing. */
import { JOBS_SERVER_MIN, jobStreams, keepsJobs, type JobStream } from '#contracts/job-streams'
import { storeNames } from '#contracts/store-names'
import { subjects } from '#contracts/subjects'
import type { Transport } from '#client'
import { now, secret, wall, within } from '#platform/system'
import type { Finding } from './doctor.ts'

/** Of the configuration: what is kept, and for how long. */
export interface KeptConfig {
  jobs: { enabled: boolean; replicas: number; backlog_bytes?: number }
  results: { max_age: number; dead_max_age: number }
}

interface Asked {
  /** Null: the configuration is not valid, and says nothing. */
  file: KeptConfig | null
  subjectPrefix: string
  /** Of the nats-server. */
  version: string
}

/** The JSON of an answer, as far as it is read. */
type Said = Record<string, unknown>

export async function checkJetStream(transport: Transport, of: Asked): Promise<Finding[]> {
  const about = 'JetStream'
  const asked = now()
  const answer = await ask(transport, '$JS.API.STREAM.LIST', '{}')
  const tookMs = now() - asked
  if (answer === 'forbidden') {
    const said = 'this user may not ask it, and only the one of headgate serve needs to'
    const todo = 'to check it, run headgate doctor as that user'
    return [{ about, verdict: 'note', said, todo }]
  }
  if (answer === null || answer['error'] !== undefined) {
    const said =
      'not there: no durable jobs, and the emergency switch does not outlive the last instance'
    return [{ about, verdict: 'note', said, todo: 'start nats-server with -js' }]
  }
  const streams = answer['streams'] as { ts?: string }[] | null
  const stamp = streams?.[0]?.ts
  return [
    { about, verdict: 'ok', said: `there; ${streams?.length ?? 0} streams` },
    ...(stamp === undefined ? [] : [clock(Date.parse(stamp) - (wall() - tookMs / 2))]),
    ...(of.file === null ? [] : await checkJobs(transport, { ...of, file: of.file })),
  ]
}

const APART_MS_MAX = 2_000

function clock(apart: number): Finding {
  const about = 'clock'
  const apartMs = Math.round(apart)
  const said = `the server's is ${Math.abs(apartMs)} ms ${apartMs < 0 ? 'behind' : 'ahead'}`
  if (Math.abs(apartMs) < APART_MS_MAX) return { about, verdict: 'ok', said }
  return { about, verdict: 'broken', said, todo: 'let NTP set both clocks' }
}

// ---- durable jobs ----

const about = 'jobs'

async function checkJobs(
  transport: Transport,
  { file, subjectPrefix, version }: Asked & { file: KeptConfig },
): Promise<Finding[]> {
  if (!file.jobs.enabled)
    return [{ about, verdict: 'note', said: 'jobs.enabled is false: nobody answers submit' }]
  if (!keepsJobs(version)) return [tooOld(version)]
  const wanted = jobStreams({
    subjects: subjects(subjectPrefix),
    names: storeNames(subjectPrefix),
    replicas: file.jobs.replicas,
    backlogBytes: file.jobs.backlog_bytes ?? null,
    resultsAgeMs: file.results.max_age * 1_000,
    deadAgeMs: file.results.dead_max_age * 1_000,
  })
  const findings: Finding[] = []
  for (const one of wanted) {
    const said = await ask(transport, `$JS.API.STREAM.INFO.${one.name}`, '')
    findings.push(...streamFindings(one, said === 'forbidden' ? null : said))
  }
  const account = await ask(transport, '$JS.API.INFO', '')
  if (account !== null && account !== 'forbidden') findings.push(...roomOf(account))
  return findings
}

function tooOld(version: string): Finding {
  const said = `none: they need nats-server ${JOBS_SERVER_MIN} or later, and this one is ${version}`
  const todo = `use nats-server ${JOBS_SERVER_MIN} or later; requests need no newer one`
  return { about, verdict: 'note', said, todo }
}

/** What is wrong with a stream, or that it is as it should be. `said`: the answer to its INFO; null: none came. */
export function streamFindings(wanted: JobStream, said: Said | null): Finding[] {
  const { name } = wanted
  if (said === null)
    return [{ about, verdict: 'broken', said: `${name}: JetStream does not answer`, todo: LEADER }]
  const error = said['error'] as { code?: number; description?: string } | undefined
  if (error?.code === 404) {
    const todo =
      'headgate serve makes it at its start; it must be allowed to, and there must be room'
    return [{ about, verdict: 'note', said: `${name} is not there`, todo }]
  }
  if (error !== undefined)
    return [
      {
        about,
        verdict: 'broken',
        said: `${name}: ${error.description ?? 'no reason'}`,
        todo: LEADER,
      },
    ]
  const config = said['config'] as Said
  const wrong = CHECKS.flatMap((check) => check(wanted, config) ?? [])
  const state = said['state'] as { messages?: number; bytes?: number }
  const held = `${name} holds ${state.messages ?? 0} messages, ${state.bytes ?? 0} bytes`
  if (wrong.length > 0) return wrong
  return [fullOf(wanted, config, state.bytes ?? 0) ?? { about, verdict: 'ok', said: held }]
}

const LEADER = 'look whether the stream has a leader: nats stream report'

type Check = (wanted: JobStream, config: Said) => Finding | null

/** What cannot be changed of a stream that is there needs another one; the rest an edit. */
const fixed =
  (key: 'retention' | 'storage', why: string): Check =>
  (wanted, config) =>
    differs(wanted, config, {
      ...{ key, why },
      todo: `when it holds nothing: nats stream rm ${wanted.name}; headgate serve makes it anew`,
    })

const edited =
  (key: keyof JobStream, flag: string, why: string): Check =>
  (wanted, config) =>
    differs(wanted, config, { key, why, todo: `nats stream edit ${wanted.name} ${flag}` })

const CHECKS: readonly Check[] = [
  fixed('storage', 'a crash of the server loses it'),
  fixed('retention', 'messages go when they should stay'),
  edited('max_msgs_per_subject', '--max-msgs-per-subject=1', 'a job may be stored twice'),
  edited('max_msgs', '--max-msgs=-1', 'jobs or results go before their time'),
  edited('allow_direct', '--allow-direct', 'nothing of it can be read'),
  (wanted, config) => {
    const flag = `--discard=${wanted.discard}`
    const why =
      wanted.discard === 'new' ? 'a full stream forgets old jobs' : 'a full stream takes no results'
    return edited('discard', flag, why)(wanted, config)
  },
  (wanted, config) => {
    const there = (config['subjects'] ?? []) as string[]
    const missing = wanted.subjects.filter((one) => !there.includes(one))
    if (missing.length === 0) return null
    const said = `${wanted.name} does not take ${missing.join(', ')}`
    const todo = `nats stream edit ${wanted.name} --subjects=${wanted.subjects.join(',')}`
    return { about, verdict: 'broken', said, todo }
  },
  (wanted, config) => {
    if (wanted.republish === undefined || config['republish'] != null) return null
    const { src, dest } = wanted.republish
    const said = `${wanted.name} tells nobody of a result: whoever waits finds it late`
    const todo = `nats stream edit ${wanted.name} --republish-source='${src}' --republish-destination='${dest}'`
    return { about, verdict: 'broken', said, todo }
  },
  (wanted, config) => {
    const there = Number(config['num_replicas'] ?? 1)
    if (there >= wanted.num_replicas) return null
    const said = `${wanted.name} has ${there} replicas, and jobs.replicas says ${wanted.num_replicas}`
    const todo = `on a cluster: nats stream edit ${wanted.name} --replicas=${wanted.num_replicas}`
    return { about, verdict: 'broken', said, todo }
  },
  (wanted, config) => {
    const there = Number(config['max_age'] ?? 0)
    if (wanted.max_age === undefined || there === 0 || there === wanted.max_age) return null
    const [has, wants] = [there, wanted.max_age].map((ns) => `${Math.round(ns / NS_PER_S)} s`)
    const said = `${wanted.name} keeps its messages for ${has}, and the configuration says ${wants}`
    const todo = `nats stream edit ${wanted.name} --max-age=${wants?.replace(' ', '')}`
    return { about, verdict: 'note', said, todo }
  },
]

const NS_PER_S = 1_000_000_000

function differs(
  wanted: JobStream,
  config: Said,
  { key, why, todo }: { key: keyof JobStream; why: string; todo: string },
): Finding | null {
  const there = config[key] ?? (key === 'allow_direct' ? false : undefined)
  if (there === wanted[key]) return null
  const said = `${wanted.name}: ${key} is ${String(there)}, and should be ${String(wanted[key])}: ${why}`
  return { about, verdict: 'broken', said, todo }
}

/** Above this part it is told. */
const FULL_PART = 0.9

/** Null: there is room, or no bound of its own. */
function fullOf(wanted: JobStream, config: Said, bytes: number): Finding | null {
  const most = Number(config['max_bytes'] ?? -1)
  if (most <= 0 || bytes < FULL_PART * most || wanted.discard === 'old') return null
  const said = `${wanted.name} holds ${bytes} of ${most} bytes: soon submit is refused queue_full`
  return {
    about,
    verdict: 'note',
    said,
    todo: `nats stream edit ${wanted.name} --max-bytes=…, or fewer jobs`,
  }
}

/** What the account may store in files. */
export function roomOf(account: Said): Finding[] {
  const { storage = 0, limits } = account as { storage?: number; limits?: { max_storage?: number } }
  const most = limits?.max_storage ?? -1
  if (most <= 0 || storage < FULL_PART * most) return []
  const said = `the account stores ${storage} of the ${most} bytes that it may`
  return [{ about, verdict: 'note', said, todo: 'let it store more, or forget something' }]
}

/** Null: nobody there. */
async function ask(
  transport: Transport,
  subject: string,
  body: string,
): Promise<Said | 'forbidden' | null> {
  const answer = Promise.withResolvers<Said | 'forbidden' | null>()
  const inbox = `_INBOX.${secret().replaceAll(/[^A-Za-z0-9]/g, '')}`
  const deaf = transport.onFault((fault) => {
    if (fault.subject === subject || fault.subject === inbox) answer.resolve('forbidden')
  })
  const subscription = transport.subscribe(inbox, (message) => {
    const text = new TextDecoder().decode(message.data)
    answer.resolve(message.nobody ? null : (JSON.parse(text) as Said))
  })
  transport.publish(subject, body, { reply: inbox })
  try {
    return await within(ASK_WITHIN_MS, answer.promise)
  } finally {
    deaf?.()
    subscription.close()
  }
}

const ASK_WITHIN_MS = 2_000
