/** The documents against the schemas of those who made their languages, and against our own lists: nothing that
 *  we say may be missing from them. */
import asyncapiSpecs from '@asyncapi/specs'
import { Validator } from '@seriousme/openapi-schema-validator'
import { Ajv } from 'ajv'
import formats from 'ajv-formats'
import { describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import { asyncapi } from '#contracts/documents/asyncapi'
import { ceType, eventData } from '#contracts/events'
import { contractPages } from '#contracts/documents/pages'
import * as listed from '#contracts/contracts'
import {
  eventRows,
  eventNames,
  schemaFile,
  shapes,
  type Json,
} from '#contracts/documents/json-schemas'
import { HEADER, requestHeaders } from '#contracts/messages'
import { doorCodes, openapi } from '#contracts/documents/openapi'
import { openapiOperator } from '#contracts/documents/openapi-operator'
import { refusals, type RefusalCode } from '#contracts/refusals'
import { ADMIN_OPS, AUX_KINDS, SHARED_OPS, subjects, type Subjects } from '#contracts/subjects'
import { instance, memoryWorld } from '../support/doors.ts'
import { filesOf, read } from '../support/tree.ts'
import { at, placeIn, refsOf, schemaCheck, step } from './checks.ts'
import { channelsAt, messageNames } from './wire-document.ts'

const codes = Object.keys(refusals) as RefusalCode[]
const documents: [string, Json][] = [
  ['asyncapi', asyncapi()],
  ['openapi', openapi()],
  ['openapi-operator', openapiOperator()],
]

describe('the languages', () => {
  test('the AsyncAPI document fits the schema of AsyncAPI 3.0, and a wrong one does not', () => {
    const schema = structuredClone(asyncapiSpecs.schemas['3.0.0']) as { definitions: Json }
    // Ajv has it already.
    delete schema.definitions['http://json-schema.org/draft-07/schema']
    const ajv = new Ajv({ strict: false })
    ;(formats as unknown as typeof formats.default)(ajv)
    const validate = ajv.compile(schema)
    const good = asyncapi()
    expect(validate(good) ? null : validate.errors).toBeNull()
    const { info: _, ...bad } = good
    expect(validate(bad)).toBe(false)
  })

  test.each(documents.slice(1))(
    'the document %s fits the schema of OpenAPI 3.1, and a wrong one does not',
    async (_name, good) => {
      expect(await new Validator().validate(good)).toEqual({ valid: true })
      const bad = { ...good, paths: { '/v1': { get: { responses: { 200: {} } } } } }
      expect((await new Validator().validate(bad)).valid).toBe(false)
    },
  )

  test.each(documents)('no reference of the document %s leads nowhere', (_name, document) => {
    const refs = refsOf(document)
    expect(refs.length).toBeGreaterThan(10)
    expect(refs.filter((ref) => at(document, ref) === undefined)).toEqual([])
  })

  test.each(documents)('every schema of the document %s compiles', (name, document) => {
    const place = placeIn(document, name === 'asyncapi' ? '07' : '2020-12')
    const names = Object.keys(at(document, '#/components/schemas') as Json)
    for (const one of names)
      expect(place(`#/components/schemas/${step(one)}`)).toBeTypeOf('function')
  })

  test.each(Object.keys(shapes))('the JSON Schema %s compiles in strict mode', (name) => {
    const check = schemaCheck(schemaFile(name))
    expect(check(7)).not.toBeNull()
  })

  test('an example in a document is one', () => {
    const spoken = documents.flatMap(([name, document]) => {
      const place = placeIn(document, name === 'asyncapi' ? '07' : '2020-12')
      return examplesOf(document).map(({ pointer, value }) => place(pointer)(value))
    })
    expect(spoken.length).toBeGreaterThan(codes.length)
    expect(spoken.filter((wrong) => wrong !== null)).toEqual([])
  })
})

describe('nothing is forgotten', () => {
  test('every refusal code has its status in the documents', () => {
    const said = at(asyncapi(), '#/components/schemas/refusal-code') as Json
    expect(said['enum']).toEqual(codes)
    expect(said['x-headgate-refusals']).toEqual(refusals)
    expect(JSON.parse(read('docs/contracts/refusals.json'))).toEqual(refusals)
    const door = openapi()
    const responses = '#/paths/~1v1~1messages/post/responses'
    const missing = doorCodes.filter((code) => {
      const { $ref = '#/nowhere' } = (at(
        door,
        `${responses}/${refusals[code].http ?? 'default'}`,
      ) ?? {}) as { $ref?: string }
      return at(door, `${$ref}/content/${step('application/json')}/examples/${code}`) === undefined
    })
    expect(missing).toEqual([])
    expect(codes.filter((code) => !doorCodes.includes(code))).toEqual(['unknown_id', 'pending'])
  })

  test('every subject that can be built has one channel', () => {
    const llm = subjects('llm')
    expect(Object.keys(built(llm)).toSorted()).toEqual(
      Object.keys(llm)
        .filter((name) => !OURS.includes(name))
        .toSorted(),
    )
    const all = Object.values(built(llm)).flat()
    expect(all.filter((subject) => channelsAt(subject).length !== 1)).toEqual([])
  })

  test('another prefix is another first token, and nothing else', () => {
    const text = JSON.stringify(asyncapi('acme'))
    expect(text).toContain('"acme.v1.request.{tenant}.{lane}"')
    expect(text.replaceAll('acme.v1', 'llm.v1')).toBe(JSON.stringify(asyncapi()))
  })

  test('what a scheduler listens to is what the document receives, in the same queue group', async () => {
    const world = memoryWorld()
    const { door, service } = await instance(world, { id: 'one' })
    const told = door.endpoints.filter(({ name }) => name !== 'batch')
    const queues = told.map(({ subject, queue }) => [
      subject,
      [...new Set(operationsAt(subject).map(queueOf))],
      [queue],
    ])
    expect(queues.length).toBeGreaterThan(5)
    for (const [subject, said, heard] of queues) expect(said, String(subject)).toEqual(heard)
    await service.close()
    await door.close()
    await world.stop()
  })

  test('every event has a schema, and a message where it is published', () => {
    expect(eventNames.toSorted()).toEqual(Object.keys(eventData).toSorted())
    for (const name of eventNames) {
      expect(Object.keys(shapes)).toContain(`event.${name}`)
      expect(messageNames.includes(`event.${name}`), name).toBe(eventRows[name].on !== null)
    }
    const types = at(asyncapi(), '#/components/schemas/event-headers/properties/ce-type/enum')
    const published = eventNames.filter((name) => eventRows[name].on !== null)
    expect(types).toEqual(published.map(ceType))
  })

  test('every header has a place in the AsyncAPI document', () => {
    const schemas = Object.values(at(asyncapi(), '#/components/schemas') as Json) as Json[]
    const named = schemas.flatMap((schema) => Object.keys((schema['properties'] ?? {}) as Json))
    expect(Object.values(HEADER).filter((header) => !named.includes(header))).toEqual([])
  })

  test('no page stands in docs/contracts that nobody writes', () => {
    const written = Object.keys(contractPages).map((path) => `docs/contracts/${path}`)
    expect(filesOf(['docs/contracts'], /./)).toEqual(written.toSorted())
  })

  test('the public list gives refusals, events, headers, subjects and the documents', () => {
    expect(listed.refusals).toBe(refusals)
    expect(listed.eventData).toBe(eventData)
    expect(listed.HEADER).toBe(HEADER)
    expect(listed.subjects('llm')).toMatchObject({ root: 'llm.v1' })
    expect(listed.asyncapi()).toEqual(asyncapi())
  })
})

describe('a schema and what reads the wire say the same', () => {
  const check = schemaCheck(schemaFile('request-headers'))

  test.each([
    ['id', HEADER.id, 'r_1', true],
    ['id', HEADER.id, 'a b', false],
    ['id', HEADER.id, 'x'.repeat(65), false],
    ['deadlineMs', HEADER.deadline, '1', true],
    ['deadlineMs', HEADER.deadline, '-1', false],
    ['deadlineMs', HEADER.deadline, '1.5', false],
    ['deadlineMs', HEADER.deadline, '', false],
    ['degrade', HEADER.degrade, 'fallback', true],
    ['degrade', HEADER.degrade, ' cache , defer ', true],
    ['degrade', HEADER.degrade, 'cache,', false],
    ['degrade', HEADER.degrade, 'never', false],
    ['degrade', HEADER.degrade, '', false],
  ])('of %s in %s: %j', (key, header, value, fits) => {
    expect(requestHeaders.safeParse({ [key]: value }).success).toBe(fits)
    expect(check({ [header]: value }) === null).toBe(fits)
  })

  const file = schemaCheck(schemaFile('config-file'))
  const configured = (yaml: string): string | null => file(parse(yaml))

  test('the shipped configuration and the emergency block fit the schema of the file', () => {
    const [, emergency = ''] =
      /```yaml\n(llm_gateway:[\s\S]+?)```/.exec(read('docs/configuration.md')) ?? []
    expect(emergency).toContain('timeout_ms')
    expect(configured(emergency)).toBeNull()
    expect(configured(read('deploy/headgate.yaml'))).toBeNull()
    expect(file({})).toBeNull()
  })

  test.each([
    ['a misspelt knob', 'llm_gateway: { timeout: 8000 }'],
    ['a number out of range', 'llm_gateway: { circuit_breaker: { open_seconds: 5 } }'],
    ['a name that is no token', 'lanes: { "a b": { weight: 1 } }'],
    ['a word that is no choice', 'scheduling: { arbitration: fair }'],
    ['an address that is none', 'upstreams: { default: { base_url: here } }'],
  ])('%s does not fit the schema of the file', (_what, yaml) => {
    expect(configured(yaml)).not.toBeNull()
  })
})

/** What is no subject that a program may use. */
const OURS = [
  'root',
  'events',
  'every',
  'stored',
  'peerSwitch',
  'peerJob',
  'peerFleet',
  'peerHello',
  'batch',
]

/** Every subject of each builder that a program may use; schedulers, and the HTTP door about batches, talk among
 *  themselves besides. */
function built(
  llm: Subjects,
): Record<
  Exclude<
    keyof Subjects,
    | 'root'
    | 'events'
    | 'every'
    | 'stored'
    | 'peerSwitch'
    | 'peerJob'
    | 'peerFleet'
    | 'peerHello'
    | 'batch'
  >,
  string[]
> {
  return {
    request: [llm.request('a', 'b')],
    submit: [llm.submit('a', 'b')],
    result: [llm.result('a', 'b')],
    fetch: [llm.fetch('a', 'b')],
    cancel: [llm.cancel('a', 'b')],
    status: [llm.status('a', 'b')],
    aux: AUX_KINDS.map((kind) => llm.aux(kind, 'a')),
    admin: ADMIN_OPS.map(llm.admin),
    jobEvent: [llm.jobEvent('a', 'b')],
    requestEvent: [llm.requestEvent('a', 'b')],
    fleetEvent: [llm.fleetEvent],
    controllerEvent: (['breaker', 'limit', 'guardrail'] as const).map((kind) =>
      llm.controllerEvent(kind, 'a'),
    ),
  }
}

/** Where a subscription's subject may be told of: `*` stands for what an address leaves open, or for each of
 *  the operations. */
function operationsAt(subject: string): Json[] {
  // Those have subscriptions of their own, in a queue group.
  const shared: readonly string[] = SHARED_OPS
  const tokens = subject.endsWith('.admin.*')
    ? ADMIN_OPS.filter((op) => !shared.includes(op))
    : ['a']
  return tokens.map((token) => {
    const [channel] = channelsAt(subject.replaceAll('*', token))
    return at(asyncapi(), `#/operations/${step(channel?.name ?? 'none')}`) as Json
  })
}

const queueOf = (operation: Json): string | null =>
  (at(operation, '#/bindings/nats/queue') as string | undefined) ?? null

/** Every example of a document, with the place of the schema that it is an example of. */
function examplesOf(document: Json): { pointer: string; value: unknown }[] {
  const found: { pointer: string; value: unknown }[] = []
  const walk = (here: unknown, pointer: string): void => {
    if (typeof here !== 'object' || here === null) return
    const { examples } = here as Json
    if (Array.isArray(examples))
      for (const { headers, payload } of examples as Json[]) {
        if (headers !== undefined) found.push({ pointer: `${pointer}/headers`, value: headers })
        found.push({ pointer: `${pointer}/payload`, value: payload })
      }
    else if (typeof examples === 'object' && examples !== null)
      for (const { value } of Object.values(examples) as Json[])
        found.push({ pointer: `${pointer}/schema`, value })
    for (const [key, inner] of Object.entries(here))
      if (key !== 'examples') walk(inner, `${pointer}/${step(key)}`)
  }
  walk(document, '#')
  return found
}
