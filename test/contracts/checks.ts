/** Documents as judges: whether a sample fits what one of them says at a place. */
import { Ajv, type AnySchema } from 'ajv'
import { Ajv2020 } from 'ajv/dist/2020.js'
import formats from 'ajv-formats'
import type { Json } from '#contracts/documents/json-schemas'

/** Says what is wrong with a sample; null: it fits. */
export type Check = (sample: unknown) => string | null

// The package is CommonJS, and what Node calls its default is the whole of it.
const withFormats = formats as unknown as typeof formats.default

/** A schema of its own. Strict: an unknown keyword or format is an error too. */
export function schemaCheck(schema: Json): Check {
  const ajv = withFormats(new Ajv2020({ strict: true }))
  return checkOf(ajv, schema as AnySchema)
}

/** A schema that stands somewhere in a document and may point elsewhere in it. */
export function placeIn(document: Json, draft: '07' | '2020-12'): (pointer: string) => Check {
  const options = { strict: false, validateSchema: false } as const
  const ajv = withFormats(draft === '07' ? new Ajv(options) : new Ajv2020(options))
  // Of a document it names the document, and of an old draft the schema.
  ajv.removeKeyword('id')
  ajv.addSchema(document, 'document')
  return (pointer) => checkOf(ajv, { $ref: `document${pointer}` })
}

function checkOf(ajv: Ajv | Ajv2020, schema: AnySchema): Check {
  const validate = ajv.compile(schema)
  return (sample) => (validate(sample) ? null : ajv.errorsText(validate.errors))
}

/** A step of a JSON pointer. */
export const step = (name: string): string =>
  encodeURIComponent(name.replaceAll('~', '~0').replaceAll('/', '~1'))

/** What stands at `#/a/b`; undefined where nothing does. */
export function at(document: Json, pointer: string): unknown {
  const steps = pointer.slice(2).split('/').map(decodeURIComponent)
  return steps.reduce<unknown>((here, name) => {
    const key = name.replaceAll('~1', '/').replaceAll('~0', '~')
    return typeof here === 'object' && here !== null ? (here as Json)[key] : undefined
  }, document)
}

/** Every `$ref` of a document. */
export function refsOf(of: unknown): string[] {
  if (typeof of !== 'object' || of === null) return []
  return Object.entries(of).flatMap(([key, value]) =>
    key === '$ref' && typeof value === 'string' ? [value] : refsOf(value),
  )
}
