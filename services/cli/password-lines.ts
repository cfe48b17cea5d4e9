/** `nats-passwords.env`: one line for each user, as a shell and `docker --env-file` read them. Lines of
 *  others in it are kept. */

export const PASSWORDS_PREFACE = `# The passwords of nats-auth.conf, in plain: keep this file to yourself and out of version control.
# A program connects with NATS_USER=<name> and NATS_PASSWORD=<what its line says>.
`

/** The variable of a user. A dash is no letter of a variable, so two names may share one. */
export const variableOf = (user: string): string => `NATS_PASSWORD_${user.replaceAll('-', '_')}`

/** With a user's line, instead of an older one. `text` null: the file is not there. */
export function withPassword(text: string | null, of: { user: string; password: string }): string {
  const before = withoutPassword(text ?? PASSWORDS_PREFACE, of.user)
  const open = before === '' || before.endsWith('\n') ? before : `${before}\n`
  return `${open}${variableOf(of.user)}=${of.password}\n`
}

export function withoutPassword(text: string, user: string): string {
  const start = `${variableOf(user)}=`
  return text
    .split('\n')
    .filter((line) => !line.startsWith(start))
    .join('\n')
}
