/** What is served at which path, and what is said of the others. */
import { expect, test } from 'vitest'
import { nothingAt, servedPath } from '../../services/gateway/paths.ts'

test.each([
  ['/v1/messages', '/v1/messages'],
  ['/messages', '/v1/messages'],
  ['/v1/v1/messages/', '/v1/messages'],
  ['//models/claude?limit=1', '/v1/models/claude?limit=1'],
  ['/api/messages', '/api/messages'],
  ['*', '*'],
])('%s is %s', (url, path) => {
  expect(servedPath(url)).toBe(path)
})

test.each([
  ['/v1/messages/batches/b_1', '/v1/messages/batches/…: Headgate takes no batches'],
  ['/v1/files?x=planted', '/v1/files: Headgate stores no files'],
  ['/v1/skills', '/v1/skills: Headgate stores no skills'],
  ['/v1/complete', '/v1/complete: text completions are not served'],
  ['/v1/organizations/planted', '/v1/organizations/…: administration is not served'],
  ['/v1/chat/completions', "/v1/chat/completions: this is another provider's API"],
  ['/v1/responses', "/v1/responses: this is another provider's API"],
  ['/planted', '/…: there are POST /v1/messages'],
  ['/v1/chat', '/v1/chat: there are POST /v1/messages'],
])('nothing is served at %s: %s', (url, says) => {
  const said = nothingAt('POST', url)
  expect(said).toContain(`nothing is served at POST ${says}`)
  expect(said).not.toContain('planted')
})

test('a base URL with a path of its own is told that it has one', () => {
  const own = 'the base URL is the address of this door alone'
  expect(nothingAt('POST', '/proxy/v1/messages')).toContain(own)
  expect(nothingAt('POST', '/v1/beta')).not.toContain(own)
})
