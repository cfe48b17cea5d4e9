/** The models on offer, and which of them share a quota. */

const CATALOGUE = [
  ['claude-opus-4-8', 'Claude Opus 4.8', '2026-05-28T00:00:00Z'],
  ['claude-opus-4-7', 'Claude Opus 4.7', '2026-04-16T00:00:00Z'],
  ['claude-opus-4-6', 'Claude Opus 4.6', '2026-02-05T00:00:00Z'],
  ['claude-sonnet-4-6', 'Claude Sonnet 4.6', '2026-02-17T00:00:00Z'],
  ['claude-opus-4-5-20251101', 'Claude Opus 4.5', '2025-11-24T00:00:00Z'],
  ['claude-haiku-4-5-20251001', 'Claude Haiku 4.5', '2025-10-15T00:00:00Z'],
  ['claude-sonnet-4-5-20250929', 'Claude Sonnet 4.5', '2025-09-29T00:00:00Z'],
] as const

/** Any name of the family is served, so that a caller's new model needs no change here. */
export const isServed = (model: string): boolean => /^claude-[A-Za-z0-9._@-]{1,100}$/.test(model)

/** The bucket that a model draws from: some versions share one, dates never matter. */
export function modelClass(model: string): string {
  const bare = model.replace(/-\d{8}$|-latest$|@.*$/, '')
  if (/^claude-opus-4-[5-8]$/.test(bare)) return 'claude-opus-4-5..8'
  if (/^claude-sonnet-4-[56]$/.test(bare)) return 'claude-sonnet-4-5..6'
  return bare
}

/** Versions 4.6 and later refuse to continue an assistant's message. */
export function refusesPrefill(model: string): boolean {
  const version = /^claude-[a-z]+-(\d{1,2})(?:-(\d{1,2}))?(?:-\d{8})?$/.exec(model)
  if (version === null) return false
  const [major, minor] = [Number(version[1]), Number(version[2] ?? 0)]
  return major > 4 || (major === 4 && minor >= 6)
}

const modelInfo = ([id, name, at]: (typeof CATALOGUE)[number]) => ({
  type: 'model',
  id,
  display_name: name,
  created_at: at,
  deprecated_at: null,
  lifecycle: 'active',
  capabilities: null,
})

/** Answer of `GET /v1/models`. */
export const modelsPage = (): string =>
  JSON.stringify({
    data: CATALOGUE.map(modelInfo),
    has_more: false,
    first_id: CATALOGUE[0][0],
    last_id: CATALOGUE.at(-1)?.[0],
  })

/** Answer of `GET /v1/models/{id}`, or null when there is no such model. */
export function modelPage(id: string): string | null {
  const row = CATALOGUE.find(([known]) => known === id || undated(known) === id)
  return row === undefined ? null : JSON.stringify(modelInfo(row))
}

const undated = (model: string): string => model.replace(/-\d{8}$/, '')
