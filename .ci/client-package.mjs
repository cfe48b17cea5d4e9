/** The client as a package of its own: what `services/client` reaches of the built tree, and nothing that a server
 *  needs. The same files as behind `headgate/client`. */
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join, posix } from 'node:path'

export const NAME = 'headgate-client'
const DOOR = 'services/client/client'
/** Packages that a program may do without: types only, and looked for at run time. */
const OPTIONAL = ['@anthropic-ai/sdk', '@opentelemetry/api']

/** Answers with the folder. */
export function clientPackage({ root, built, manifest }) {
  const folder = `${built}-client`
  rmSync(folder, { recursive: true, force: true })
  const packages = new Set()
  for (const file of reached(built, packages)) {
    mkdirSync(dirname(join(folder, file)), { recursive: true })
    const text = readFileSync(join(built, file), 'utf8')
    writeFileSync(join(folder, file), file.endsWith('.d.ts') ? withoutPeers(text) : text)
  }
  // Where an image is built it is not there, and nothing is published from there.
  const licence = join(root, 'LICENSE')
  if (existsSync(licence)) cpSync(licence, join(folder, 'LICENSE'))
  writeFileSync(join(folder, 'README.md'), readme(manifest))
  const wanted = [...packages].filter((name) => !OPTIONAL.includes(name)).toSorted()
  writeFileSync(join(folder, 'package.json'), JSON.stringify(ofClient(manifest, wanted), null, 2))
  return folder
}

/** Every file behind the door, JavaScript and declarations; adds the packages that they name. */
function reached(built, packages) {
  const found = new Set()
  const waiting = [`${DOOR}.js`, `${DOOR}.d.ts`]
  for (let file = waiting.pop(); file !== undefined; file = waiting.pop()) {
    if (found.has(file)) continue
    found.add(file)
    const text = readFileSync(join(built, file), 'utf8')
    for (const [, name] of text.matchAll(/(?:from|import|import\()\s*['"]([^'"]+)['"]/g)) {
      const path = pathOf(name, file)
      if (path !== null) waiting.push(...both(path).filter((one) => existsSync(join(built, one))))
      else if (!name.startsWith('node:')) packages.add(packageOf(name))
    }
  }
  return found
}

function pathOf(name, from) {
  if (name.startsWith('#contracts/')) return `contracts/${name.slice('#contracts/'.length)}.js`
  return name.startsWith('.') ? posix.join(posix.dirname(from), name) : null
}

/** Declarations name each other by `.js`, or, as they were written, by `.ts`. */
function both(path) {
  const stem = path.replace(/(\.d)?\.[jt]s$/, '')
  return [`${stem}.js`, `${stem}.d.ts`]
}

const packageOf = (name) =>
  name
    .split('/')
    .slice(0, name.startsWith('@') ? 2 : 1)
    .join('/')

/** Without the SDK its types are `any`, instead of an error in our declarations. */
const withoutPeers = (text) =>
  text.replace(
    /^import type \{([^}]*)\} from (['"]@anthropic-ai\/sdk[^'"]*['"])/gm,
    (_, names, from) =>
      `// @ts-ignore: the SDK is optional\nimport type {${names.replace(/\s+/g, ' ')}} from ${from}`,
  )

function ofClient(manifest, wanted) {
  const { version, license, type, engines, dependencies, peerDependencies } = manifest
  return {
    name: NAME,
    version,
    description: 'The client of Headgate, a scheduler for Claude API calls over NATS.',
    license,
    type,
    engines,
    exports: { '.': { types: `./${DOOR}.d.ts`, default: `./${DOOR}.js` } },
    imports: { '#contracts/*': './contracts/*.js' },
    dependencies: Object.fromEntries(wanted.map((name) => [name, dependencies[name]])),
    peerDependencies: { ...peerDependencies, '@opentelemetry/api': '^1.9.0' },
    peerDependenciesMeta: Object.fromEntries(OPTIONAL.map((name) => [name, { optional: true }])),
  }
}

const readme = ({ version }) => `# ${NAME}

The client of Headgate ${version}, a scheduler for Claude API calls over NATS, without the scheduler. It is what \`headgate/client\` is, under a name of its own.

\`\`\`ts
import { HeadgateClient } from '${NAME}'

const headgate = new HeadgateClient({ tenant: 'acme', servers: 'nats://127.0.0.1:4222' })
const { body, accounting } = await headgate.request({
  model: 'claude-haiku-4-5',
  max_tokens: 64,
  messages: [{ role: 'user', content: 'Say hello.' }],
})
console.log(body.content, accounting.queueMs)
await headgate.close()
\`\`\`

With \`@anthropic-ai/sdk\` 1.x installed it speaks the SDK's types; without it they are \`any\`. With \`@opentelemetry/api\` installed a call carries the trace that it is made in.
`
