/** `headgate doctor`: looks at everything a Headgate needs, and says what to do about what it lacks. */
import { Command } from 'commander'
import { misspeltVariables } from '#contracts/environment-names'
import { connectHeadgate, HeadgateError, natsTransport, type Transport } from '#client'
import { subjects } from '#contracts/subjects'
import { checkJetStream, type KeptConfig } from './doctor-jetstream.ts'
import { checkUpstreams } from './doctor-upstreams.ts'
import { GATEWAY_PORT, HTTP_PORT } from './default-ports.ts'
import { dialing, dialOptions, natsUrl, type DialFlags } from './dialing.ts'
import { isFree } from './free-port.ts'
import { readNatsInfo } from './nats-info.ts'
import { findNatsServer } from './nats-server.ts'
import { startProgram } from './program.ts'
import { secret, sleep, wall } from '#platform/system'
import { env, fileName, json, messageOf, Misuse, MODEL, say, token } from './terminal.ts'

interface DoctorFlags extends DialFlags {
  config?: string
  tenant?: string
  upstream?: true | string
  model?: string
  json?: true
}

export interface Finding {
  about: string
  /** `note`: something to know, and nothing is broken. */
  verdict: 'ok' | 'note' | 'broken'
  said: string
  /** What to do. */
  todo?: string
}

export const doctor = (): Command =>
  dialOptions(new Command('doctor'))
    .summary('check what Headgate needs')
    .description(
      'Checks everything a Headgate needs and says what to do. Status 1 when something is broken.',
    )
    .option('--config <file>', 'configuration (default: HEADGATE_CONFIG, else defaults)', fileName)
    .option(
      '--tenant <tenant>',
      'a tenant of yours, whose permissions are tried (default: NATS_USER)',
      token,
    )
    .option(
      '--upstream [name]',
      'also make a call of one token to each upstream, or to this one, with its key',
    )
    .option('--model <model>', `for that call (default: the one of its first route, else ${MODEL})`)
    .option('--json', 'print the findings as JSON')
    .action(async (flags: DoctorFlags) => {
      if (flags.model !== undefined && flags.upstream === undefined)
        throw new Misuse('--model: needs --upstream')
      const findings: Finding[] = [node(), ...environment()]
      const configuration = await checkConfig(flags)
      findings.push(...configuration.findings)
      if (flags.upstream !== undefined && configuration.isValid)
        findings.push(
          ...(await checkUpstreams({
            config: flags.config ?? env('HEADGATE_CONFIG'),
            only: flags.upstream === true ? null : flags.upstream,
            model: flags.model ?? null,
          })),
        )
      findings.push(...(await checkNats(flags, configuration)))
      findings.push(
        await checkEmbedded(),
        await checkPort({ variable: 'HEADGATE_HTTP_PORT', usual: HTTP_PORT }),
        await checkPort({ variable: 'HEADGATE_GATEWAY_PORT', usual: GATEWAY_PORT }),
        checkClock(),
      )
      if (flags.json === true) json(findings)
      else for (const finding of findings) say(lineOf(finding))
      process.exitCode = findings.some((one) => one.verdict === 'broken') ? 1 : 0
    })

const MARKS = { ok: 'ok    ', note: 'note  ', broken: 'BROKEN' } as const

const lineOf = ({ about, verdict, said, todo }: Finding): string =>
  `${MARKS[verdict]} ${about.padEnd(14)} ${said}${todo === undefined ? '' : `\n${' '.repeat(22)}-> ${todo}`}`

function node(): Finding {
  const about = 'Node'
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
  const said = `${process.version} on ${process.platform} ${process.arch}`
  if (major > 22 || (major === 22 && minor >= 18)) return { about, verdict: 'ok', said }
  return { about, verdict: 'broken', said, todo: 'use Node 22.18 or later' }
}

/** Only what is wrong with it. */
const environment = (): Finding[] =>
  misspeltVariables(Object.keys(process.env)).map((said) => {
    return { about: 'environment', verdict: 'note', said, todo: 'set the other, or take it away' }
  })

// ---- configuration: the scheduler itself reads it, on a bus of its own and any port ----

interface ConfigFile extends KeptConfig {
  subject_prefix: string
  upstreams: Record<string, { base_url: string; api_key_env: string }>
}

interface Configuration {
  findings: Finding[]
  isValid: boolean
  subjectPrefix: string
  /** In force; null: it is not valid. */
  file: ConfigFile | null
}

async function checkConfig(flags: DoctorFlags): Promise<Configuration> {
  const about = 'configuration'
  const path = flags.config ?? env('HEADGATE_CONFIG')
  const token = secret()
  const trial = startProgram<{ http: string }>({
    name: 'scheduler',
    env: {
      HEADGATE_CONFIG: path,
      HEADGATE_BUS: 'memory',
      HEADGATE_HOST: '127.0.0.1',
      HEADGATE_HTTP_PORT: '0',
      HEADGATE_ADMIN_TOKEN: token,
      // Its certificate need not be one that we trust.
      HEADGATE_TLS_CERT: undefined,
      HEADGATE_TLS_KEY: undefined,
      LOG_LEVEL: 'silent',
    },
  })
  const subjectPrefix = flags.subjectPrefix ?? 'llm'
  try {
    const { http } = await trial.ready
    const headers = { authorization: `Bearer ${token}` }
    const answer = await fetch(`${http}/api/admin/config`, { method: 'POST', headers })
    const { file } = (await answer.json()) as { file: ConfigFile }
    const said = path === undefined ? 'no file: defaults' : `${path} is valid`
    return {
      findings: [{ about, verdict: 'ok', said }, ...keys(file)],
      isValid: true,
      subjectPrefix: flags.subjectPrefix ?? file.subject_prefix,
      file,
    }
  } catch (error) {
    const finding: Finding = { about, verdict: 'broken', said: messageOf(error) }
    const findings = [{ ...finding, todo: 'correct that line' }]
    return { findings, isValid: false, subjectPrefix, file: null }
  } finally {
    trial.signal('SIGTERM')
    await trial.ended
  }
}

/** Whether a key is there; never what it is. */
function keys(file: ConfigFile): Finding[] {
  return Object.entries(file.upstreams).map(([name, { api_key_env }]): Finding => {
    const about = 'API key'
    if (env(api_key_env) !== undefined)
      return { about, verdict: 'ok', said: `${api_key_env} is set, for upstream ${name}` }
    const said = `${api_key_env} is not set: upstream ${name} is called without a key`
    const todo = `export ${api_key_env}, or try without one: headgate up simulates the upstream`
    return { about, verdict: 'note', said, todo }
  })
}

// ---- NATS ----

const MAX_PAYLOAD_WANTED = 8_388_608
const FAULT_WITHIN_MS = 300

async function checkNats(
  flags: DoctorFlags,
  { subjectPrefix, file }: Configuration,
): Promise<Finding[]> {
  const about = 'NATS'
  const url = natsUrl(flags.nats)
  const where = url.replaceAll(/\/\/[^@/,]*@/g, '//')
  const findings: Finding[] = []
  let version: string
  try {
    const info = await readNatsInfo(url)
    version = info.version
    const said = `${where} is nats-server ${info.version}`
    findings.push(
      recent(info.version)
        ? { about, verdict: 'ok', said }
        : { about, verdict: 'broken', said, todo: 'use nats-server 2.10 or later' },
      maxPayload(info.max_payload),
    )
  } catch (error) {
    const wanted = flags.nats !== undefined || env('NATS_URL') !== undefined
    const said = `${where}: ${messageOf(error)}`
    const todo = wanted
      ? 'start it, or correct NATS_URL'
      : 'headgate up starts one of its own; headgate serve needs one'
    return [{ about, verdict: wanted ? 'broken' : 'note', said, todo }]
  }
  let transport: Transport
  try {
    transport = await natsTransport(dialing(url))
  } catch (error) {
    const todo = 'set NATS_USER and NATS_PASSWORD (headgate auth makes them), or NATS_CREDS'
    return [...findings, { about, verdict: 'broken', said: messageOf(error), todo }]
  }
  try {
    findings.push(...(await checkJetStream(transport, { file, subjectPrefix, version })))
    findings.push(...(await permissions(transport, flags, subjectPrefix)))
  } finally {
    await transport.close()
  }
  return findings
}

function maxPayload(bytes: number): Finding {
  const about = 'max_payload'
  const said = `${bytes} bytes`
  if (bytes >= MAX_PAYLOAD_WANTED) return { about, verdict: 'ok', said }
  const less = `${said}: longer requests, and longer answers, cannot be carried`
  const todo = `in the server's configuration: max_payload: 8MB`
  return { about, verdict: 'note', said: less, todo }
}

const recent = (version: string): boolean => {
  const [major = 0, minor = 0] = version.split('.').map(Number)
  return major > 2 || (major === 2 && minor >= 10)
}

/** What NATS permits this user; a refusal comes a moment later, and of its own accord. */
async function permissions(
  transport: Transport,
  flags: DoctorFlags,
  subjectPrefix: string,
): Promise<Finding[]> {
  const tenant = flags.tenant ?? env('NATS_USER') ?? 'default'
  const faults: string[] = []
  transport.onFault(({ subject }) => faults.push(subject))
  const to = subjects(subjectPrefix)
  const hearing = transport.subscribe(to.every.request, () => {})
  const client = await connectHeadgate({ tenant, transport, subjectPrefix })
  try {
    const alive = await publisher(client.cancel('headgate-doctor'), tenant)
    await sleep(FAULT_WITHIN_MS)
    const scheduler: Finding = faults.includes(to.every.request)
      ? {
          about: 'permissions',
          verdict: 'note',
          said: 'this user may not run a scheduler (subscribe to every request)',
          todo: 'fine for a publisher; headgate serve needs the user that may',
        }
      : { about: 'permissions', verdict: 'ok', said: 'this user may run a scheduler' }
    return [alive, scheduler]
  } finally {
    hearing.close()
    await client.close()
  }
}

/** Cancels what nobody has: it costs nothing, and every Headgate answers it. */
async function publisher(asking: Promise<unknown>, tenant: string): Promise<Finding> {
  const about = 'publishing'
  try {
    await asking
    return { about, verdict: 'ok', said: `a Headgate answers tenant ${tenant}` }
  } catch (error) {
    if (!(error instanceof HeadgateError)) throw error
    if (/permission/i.test(error.message)) {
      const todo = `headgate auth add-tenant ${tenant} permits it its subjects and _INBOX_${tenant}.>`
      return { about, verdict: 'broken', said: error.message, todo }
    }
    const said = `no Headgate answers tenant ${tenant}`
    return { about, verdict: 'note', said, todo: 'headgate serve starts one' }
  }
}

// ---- this machine ----

async function checkEmbedded(): Promise<Finding> {
  const about = 'nats-server'
  const found = await findNatsServer()
  if (found.program !== null)
    return { about, verdict: 'ok', said: `for headgate up: ${found.source}` }
  const todo = 'headgate up then keeps its bus in memory; put nats-server 2.10 or later on PATH'
  return { about, verdict: 'note', said: found.reason, todo }
}

async function checkPort(of: { variable: string; usual: number }): Promise<Finding> {
  const about = 'port'
  const host = env('HEADGATE_HOST') ?? '127.0.0.1'
  const port = Number(env(of.variable) ?? of.usual)
  if (await isFree({ host, port })) return { about, verdict: 'ok', said: `${host}:${port} is free` }
  const said = `${host}:${port} is taken, perhaps by a Headgate that runs`
  const todo = `headgate up takes the next one; headgate serve needs ${of.variable}`
  return { about, verdict: 'note', said, todo }
}

/** Earlier than this version was made. */
const EARLIEST = Date.UTC(2026, 0, 1)

function checkClock(): Finding {
  const said = new Date(wall()).toISOString()
  return wall() > EARLIEST
    ? { about: 'clock', verdict: 'ok', said: `here it is ${said}` }
    : { about: 'clock', verdict: 'broken', said: `here it is ${said}`, todo: 'set the clock' }
}
