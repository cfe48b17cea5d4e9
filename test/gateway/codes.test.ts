/** Which errors invite another try: the codes as they run, and as the pages tell of them. */
import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { refusal } from '#contracts/messages'
import { refusals, type RefusalCode } from '#contracts/refusals'
import { clientRefusals, HeadgateError, type ClientCode } from '#client'
import { errorAnswer } from '../../services/gateway/answer.ts'
import { inRoot } from '../support/tree.ts'

const page = (name: string): string => readFileSync(inRoot(`docs/${name}`), 'utf8')
const contract = page('wire-contract.md')
const door = page('http-door.md')

/** The rows of the first table after those words, as the texts of their cells. */
function tableAfter(text: string, words: string): string[][] {
  const [, after = ''] = text.split(words)
  const [table = ''] = /^\|[^]*?(?=\n\n)/m.exec(after) ?? []
  const rows = table.split('\n').map((row) => row.split('|').map((cell) => cell.trim()))
  return rows.slice(2).map((row) => row.slice(1, -1))
}
const codesIn = (text: string): string[] =>
  [...text.matchAll(/`([a-z_]+)`/g)].map(([, one]) => one!)
const namesOf = <Name extends string>(of: Record<Name, unknown>) => Object.keys(of) as Name[]

const told = (error: HeadgateError) => errorAnswer(error, 'r_1', null)
const ownError = (code: ClientCode) =>
  new HeadgateError({ code, message: 'm', retryable: clientRefusals[code].retryable })

test('the codes of a client are those of the contract, with their status at the door', () => {
  const rows = tableAfter(contract, '### What a client finds out')
  const asPage = rows.map(([code, status, retryable]) => [code, status, retryable])
  const asCode = namesOf(clientRefusals).map((code) => [
    `\`${code}\``,
    String(told(ownError(code)).status),
    clientRefusals[code].retryable ? 'yes' : 'no',
  ])
  expect(asPage.toSorted()).toEqual(asCode.toSorted())
})

test('none that may have run is retryable, nor invites an SDK', () => {
  for (const [code = '', , retryable, mayHaveRun] of tableAfter(
    contract,
    '### What a client finds',
  )) {
    expect([code, mayHaveRun === 'yes' && retryable === 'yes']).toEqual([code, false])
    const { headers } = told(ownError(code.replaceAll('`', '') as ClientCode))
    expect([code, headers['x-should-retry']]).toEqual([
      code,
      retryable === 'no' ? 'false' : undefined,
    ])
  }
})

test('the retryable codes of a scheduler are those that the contract names', () => {
  const [, said = ''] =
    /`retryable` \(the same again[^)]*\) is true for ([^,]*(?:, `[^,]*)*)/.exec(contract) ?? []
  const retryable = namesOf(refusals).filter((code) => refusals[code].retryable)
  expect(codesIn(said).toSorted()).toEqual(retryable.toSorted())
})

test('an SDK asks again of what the page of the door says, and of nothing else', () => {
  const rows = tableAfter(door, 'so it is told what is worth asking again:')
  let same = false
  const again: string[] = []
  for (const [codes = '', , does = ''] of rows) {
    same = does === 'the same' ? same : /asks? again, twice|^the same where/.test(does)
    if (same) again.push(...codesIn(codes))
  }
  const scheduler = (code: RefusalCode) => new HeadgateError({ ...refusal(code, 'm') })
  const all = [...namesOf(refusals).map(scheduler), ...namesOf(clientRefusals).map(ownError)]
  const asked = all.filter((error) => told(error).headers['x-should-retry'] !== 'false')
  // `pending` is the answer to a fetch, which the door does not have.
  const codes = asked.map(({ code }) => code).filter((code) => code !== 'pending')
  expect(again.toSorted()).toEqual(codes.toSorted())
})
