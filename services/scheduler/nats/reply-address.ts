/** Where an answer may go. NATS lets a tenant name any reply subject, another tenant's inbox and the
 *  server's own API included; whatever is not plainly an inbox of the caller's is never answered. */
import { TOKEN } from '#contracts/ids'

export const REPLY_CHARS_MAX = 512

export function replyAllowed(of: {
  reply: string
  tenant: string
  /** `<tenant>` in them stands for the caller's. */
  prefixes: readonly string[]
  /** First token of Headgate's own subjects. */
  subjectPrefix: string
}): boolean {
  const { reply, subjectPrefix } = of
  if (reply.length > REPLY_CHARS_MAX || !WELL_FORMED.test(reply)) return false
  if (reply.startsWith('$') || reply.startsWith(`${subjectPrefix}.`)) return false
  return of.prefixes.some((prefix) => startsWith({ reply, prefix, tenant: of.tenant }))
}

/** An operator's address: the prefix of whatever name the operator connects with. */
export function operatorReplyAllowed(of: {
  reply: string
  prefixes: readonly string[]
  subjectPrefix: string
}): boolean {
  const tenant = /^_INBOX_([^.]+)\./.exec(of.reply)?.[1] ?? ''
  return replyAllowed({ ...of, tenant })
}

/** Tokens without wildcards, white space or control characters, none of them empty. */
const WELL_FORMED = /^[^\s.*>\x00-\x1f\x7f]+(\.[^\s.*>\x00-\x1f\x7f]+)*$/

function startsWith(of: { reply: string; prefix: string; tenant: string }): boolean {
  if (!of.prefix.includes('<tenant>')) return of.reply.startsWith(of.prefix)
  return TOKEN.test(of.tenant) && of.reply.startsWith(of.prefix.replaceAll('<tenant>', of.tenant))
}
