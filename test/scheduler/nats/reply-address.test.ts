import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { replyAllowed } from '../../../services/scheduler/nats/reply-address.ts'

const prefixes = ['_INBOX.', '_INBOX_<tenant>.', '_R_.']
const allowed = (reply: string, more: Partial<Parameters<typeof replyAllowed>[0]> = {}) =>
  replyAllowed({ reply, tenant: 'acme', prefixes, subjectPrefix: 'llm', ...more })

describe('a reply address', () => {
  test('is an inbox of nobody in particular, or of the tenant', () => {
    for (const reply of ['_INBOX.x', '_INBOX.x.y.z', '_INBOX_acme.x', '_R_.x']) {
      expect(allowed(reply)).toBe(true)
    }
  })

  test("is not another tenant's, also if it starts alike", () => {
    for (const reply of ['_INBOX_acme2.x', '_INBOX_acm.x', '_INBOX_acme', '_INBOX_other.x']) {
      expect(allowed(reply)).toBe(false)
    }
    expect(allowed('_INBOX_.x', { tenant: '' })).toBe(false)
    expect(allowed('_INBOX_a.b.x', { tenant: 'a.b' })).toBe(false)
  })

  test("is never the server's or our own, whatever the configuration says", () => {
    const anything = { prefixes: ['$', 'llm.', 'llm', '$JS.API.'] }
    for (const reply of ['$JS.API.X', '$SYS.X', 'llm.v1.admin.drain', 'llm.x']) {
      expect(allowed(reply, anything)).toBe(false)
    }
    expect(allowed('llmx.y', anything)).toBe(true)
  })

  test('of any text is short, well formed and starts as it may, or is refused', () => {
    const parts = fc.constantFrom(
      '_INBOX.',
      '_INBOX_acme.',
      '_R_.',
      '.',
      '*',
      '>',
      ' ',
      '\n',
      'x',
      '$',
    )
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.array(parts).map((p) => p.join('')),
        ),
        (reply) => {
          if (!allowed(reply)) return
          expect(reply).toMatch(/^(_INBOX\.|_INBOX_acme\.|_R_\.)[^\s*>]+$/)
          expect(reply.length).toBeLessThanOrEqual(512)
          expect(reply).not.toContain('..')
        },
      ),
    )
  })
})
