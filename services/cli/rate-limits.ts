/** Asks the provider what an organisation, or a workspace of it, may use, by group of models. */
import { readLimitsPage, type LimitGroup } from '#contracts/rate-limits'
import { systemClock } from '#platform/system'
import { Failure, messageOf } from './terminal.ts'

const PAGES_MAX = 100
const WAIT_MS = 30_000

interface Asked {
  baseUrl: string
  key: string
}

/** A workspace's own limits stand over those of its organisation. */
export async function readRateLimits(
  of: Asked & { workspace: string | null },
): Promise<LimitGroup[]> {
  const groups = await allOf(of, '/v1/organizations/rate_limits')
  if (of.workspace === null) return groups
  const id = encodeURIComponent(of.workspace)
  const own = await allOf(of, `/v1/organizations/workspaces/${id}/rate_limits`)
  return groups.map((group) => {
    const over = own.find(({ models }) => models.some((model) => group.models.includes(model)))
    return over === undefined ? group : { ...group, ...stated(over) }
  })
}

const stated = ({ rpm, itpm, otpm }: LimitGroup): Partial<LimitGroup> => ({
  ...(rpm === null ? {} : { rpm }),
  ...(itpm === null ? {} : { itpm }),
  ...(otpm === null ? {} : { otpm }),
})

async function allOf(of: Asked, path: string): Promise<LimitGroup[]> {
  const groups: LimitGroup[] = []
  const url = new URL(of.baseUrl.replace(/\/+$/, '') + path)
  url.searchParams.set('group_type', 'model_group')
  for (let pages = 0; pages < PAGES_MAX; pages++) {
    const read = readLimitsPage(await ask(url, of.key))
    if (read === null) throw new Failure(`${url.host}: the answer is none of the Rate Limits API`)
    groups.push(...read.groups)
    if (read.next === null) return groups
    url.searchParams.set('page', read.next)
  }
  throw new Failure(`${url.host}: more than ${PAGES_MAX} pages of limits`)
}

async function ask(url: URL, key: string): Promise<unknown> {
  const { status, text } = await answerOf(url, key).catch((error: unknown) => {
    // What is wrong with the way there, and never what was sent.
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error
    throw new Failure(`${url.host}: ${messageOf(cause)}`)
  })
  if (status === 401 || status === 403)
    throw new Failure(
      `${url.host}: the key is refused (${status}); it takes an admin key, which begins with sk-ant-admin`,
    )
  if (status !== 200) throw new Failure(`${url.host}: status ${status}`)
  try {
    return JSON.parse(text) as unknown
  } catch {
    throw new Failure(`${url.host}: the answer is no JSON`)
  }
}

async function answerOf(url: URL, key: string): Promise<{ status: number; text: string }> {
  const waiting = new AbortController()
  const stop = systemClock.after(WAIT_MS, () => waiting.abort(new Error('no answer')))
  try {
    const headers = { 'x-api-key': key, 'anthropic-version': '2023-06-01' }
    const answer = await fetch(url, { headers, signal: waiting.signal })
    return { status: answer.status, text: await answer.text() }
  } finally {
    stop()
  }
}
