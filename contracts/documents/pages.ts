/** The files of docs/contracts/: every document and every schema as JSON, the refusals as data, and the page that
 *  lists them. `npm run generate` writes them and a test fails when one is stale. */
import { asyncapi } from './asyncapi.ts'
import { schemaFile, shapes, type Json } from './json-schemas.ts'
import { openapi } from './openapi.ts'
import { openapiOperator } from './openapi-operator.ts'
import { refusals } from '#contracts/refusals'

interface ContractPage {
  /** One line. */
  says: string
  render: () => string
}

const json = (of: Json): string => JSON.stringify(of, null, 2)

const documents: Readonly<Record<string, ContractPage>> = {
  'asyncapi.json': {
    says: 'AsyncAPI 3.0: every NATS subject, with its headers, bodies, answers and events.',
    render: () => json(asyncapi()),
  },
  'openapi.json': {
    says: 'OpenAPI 3.1: the Anthropic-compatible HTTP door.',
    render: () => json(openapi()),
  },
  'openapi-operator.json': {
    says: "OpenAPI 3.1: the operator's port.",
    render: () => json(openapiOperator()),
  },
  'refusals.json': {
    says: 'Each code with its meaning, HTTP status, error type, whether the same again may succeed, and who must act; null: the upstream says.',
    render: () => json(refusals),
  },
}

const schemas = Object.entries(shapes).map(([name, { says }]): [string, ContractPage] => [
  `schemas/${name}.json`,
  { says, render: () => json(schemaFile(name)) },
])

const files: Readonly<Record<string, ContractPage>> = {
  ...documents,
  ...Object.fromEntries(schemas),
}

const list = (of: readonly [string, ContractPage][]): string =>
  of.map(([path, { says }]) => `| [${path}](${path}) | ${says} |`).join('\n')

function renderList(): string {
  return `# The contracts, for every language

<!-- Generated from contracts/ by contracts/documents/pages.ts. Do not edit. -->

What [the wire contract](../wire-contract.md) says, for programs: generated from the zod schemas that Headgate itself
runs on. A shape says what must be there and never that nothing else may be; read what you know and pass over the rest.

| document | says |
| --- | --- |
${list(Object.entries(documents))}

JSON Schemas, draft 2020-12:

| schema | says |
| --- | --- |
${list(schemas)}

From npm they are \`headgate/contracts/asyncapi.json\`, \`headgate/contracts/schemas/error-body.json\` and so on, and a
TypeScript program has the schemas themselves: \`import { eventData, refusals } from 'headgate/contracts'\`.

An editor completes and checks \`headgate.yaml\` with this as its first line:

\`\`\`yaml
# yaml-language-server: $schema=./node_modules/headgate/docs/contracts/schemas/config-file.json
\`\`\`
`
}

/** Every file by its path below docs/contracts/, each with what writes its text. */
export const contractPages: Readonly<Record<string, () => string>> = {
  ...Object.fromEntries(Object.entries(files).map(([path, { render }]) => [path, render])),
  'README.md': renderList,
}
