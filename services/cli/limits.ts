/** `headgate limits sync`: what the provider allows, written into the configuration. The admin key that it takes is
 *  read here and nowhere else: no scheduler ever has it. */
import { Command } from 'commander'
import { configIn, withLimits } from './config-edit.ts'
import { readRateLimits } from './rate-limits.ts'
import { env, Failure, fileName, json, Misuse, say, tell } from './terminal.ts'
import { alone, readWhole, writeWhole } from './whole-files.ts'

interface Flags {
  config: string
  upstream: string
  keyEnv: string
  workspace?: string
  check?: true
  json?: true
}

export const limits = (): Command =>
  new Command('limits')
    .summary("the provider's limits, into the configuration")
    .description('What the provider allows, and what the configuration says of it.')
    .addCommand(
      new Command('sync')
        .summary('write what the provider allows into the routes')
        .description(
          'Reads the Rate Limits API of the provider and writes rpm, itpm and otpm of each route whose model it names, ' +
            'and one quota for routes whose models share theirs. Comments and everything else in the file stay. ' +
            'It takes an admin key, which no scheduler has or needs.',
        )
        .requiredOption('--config <file>', 'the headgate.yaml', fileName)
        .option('--upstream <name>', 'whose routes', 'default')
        .option('--workspace <id>', "a workspace's limits, where they are other ones")
        .option('--key-env <name>', 'the variable that holds the admin key', 'ANTHROPIC_ADMIN_KEY')
        .option('--check', 'write nothing; status 1 where the file says otherwise')
        .option('--json', 'print what is different as JSON')
        .action(sync),
    )

async function sync(flags: Flags): Promise<void> {
  const { config: path, upstream, workspace = null } = flags
  const key = env(flags.keyEnv)
  if (key === undefined)
    throw new Misuse(
      `${flags.keyEnv} is not set: expected an admin key, which begins with sk-ant-admin`,
    )
  if (!/^[\x21-\x7e]+$/.test(key))
    throw new Misuse(
      `${flags.keyEnv} holds what no key has in it: a space, a line break or the like`,
    )
  const before = readWhole(path)
  if (before === null) throw new Misuse(`--config: there is no ${path}`)
  const file = configIn(before, path)
  const isFirst = Object.keys(file.upstreams)[0] === upstream
  const own = file.upstreams[upstream]?.base_url
  const baseUrl =
    own === undefined ? undefined : ((isFirst ? env('ANTHROPIC_BASE_URL') : undefined) ?? own)
  if (baseUrl === undefined)
    throw new Misuse(
      `--upstream: no upstream ${upstream}; there are ${Object.keys(file.upstreams).join(', ')}`,
    )
  if (file.routes === undefined)
    throw new Failure(
      `${path}: it names no routes, so that limits are learned from answers; name the models under routes first`,
    )
  const groups = await readRateLimits({ baseUrl, key, workspace })
  const changes = alone(path, () => {
    const text = readWhole(path)
    if (text === null) throw new Failure(`${path}: it is gone`)
    const edited = withLimits(text, path, { groups, upstream })
    if (flags.check !== true && edited.changes.length > 0)
      writeWhole([{ path, text: edited.text, mode: 0o644 }])
    return edited.changes
  })
  const known = new Set(groups.flatMap(({ models }) => models))
  const unknown = file.routes
    .filter((route) => route.upstream === upstream && !known.has(route.model))
    .map(({ model }) => model)
  report({ changes, unknown, flags })
}

function report(of: {
  changes: readonly string[]
  unknown: readonly string[]
  flags: Flags
}): void {
  const { changes, unknown, flags } = of
  const written = flags.check !== true && changes.length > 0
  if (flags.json === true) json({ changes, unknown, written })
  else {
    for (const change of changes) say(change)
    if (changes.length === 0) say('the file says what the provider allows')
    for (const model of unknown) tell(`the provider tells no limits of ${model}`)
  }
  if (flags.check === true && changes.length > 0) process.exitCode = 1
}
