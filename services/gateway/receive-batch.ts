/** A batch on its way in: read as it comes, its entries handed over page by page, and there only when all of it was
 *  read and nothing is wrong with it.
 *  Bound: the names of its entries, one page, and its largest entry. */
import {
  CUSTOM_ID,
  CUSTOM_ID_SHAPE,
  PAGE_ENTRIES_MAX,
  type BatchOpened,
  type PageHead,
} from '#contracts/batches'
import type { Headgate } from '#client'
import { BodyFault, RequestReader, type Entry } from './batch-reader.ts'

export interface Receiving {
  client: Headgate
  opened: BatchOpened
  body: AsyncIterable<Buffer>
  bytesMax: number
}

/** The batch as it is kept. Throws a `BodyFault` where it fits nothing, after the rest of it was read, a
 *  `HeadgateError` where it cannot be kept, and what the body itself throws. */
export async function receive(of: Receiving): Promise<Uint8Array> {
  const pages = new Pages(of)
  const reader = new RequestReader({
    entryBytesMax: of.opened.entry_bytes,
    take: (entry) => pages.add(entry),
  })
  let bytes = 0
  let fault: unknown = null
  for await (const chunk of of.body) {
    bytes += chunk.length
    if (bytes > of.bytesMax)
      throw new BodyFault(`the body is over ${of.bytesMax} bytes (gateway.batch_bytes)`, true)
    // Who sends on is heard to the end: many read no answer before.
    if (fault === null) fault = await faultOf(() => pages.take(() => reader.push(chunk)))
  }
  if (fault === null) fault = await faultOf(() => pages.take(() => reader.end()))
  if (fault !== null) throw fault
  return pages.commit()
}

async function faultOf(act: () => Promise<void>): Promise<unknown> {
  try {
    await act()
    return null
  } catch (error) {
    return error
  }
}

/** What an entry adds to the first line of its page, beside its name. */
const ENTRY_OVERHEAD_BYTES = 16

class Pages {
  readonly #of: Receiving
  readonly #names = new Set<string>()
  #page = 0
  /** Entries that are read and not yet handed over. */
  #waiting: { name: string; params: Buffer }[] = []

  constructor(of: Receiving) {
    this.#of = of
  }

  /** Checks an entry. Throws a `BodyFault`. */
  add({ customId, params }: Entry): void {
    const at = `requests.${this.#names.size}`
    const most = this.#of.opened.entries_max
    if (this.#names.size >= most)
      throw new BodyFault(`requests: expected at most ${most} entries (batches.entries_max)`)
    if (customId === null) throw new BodyFault(`${at}.custom_id: expected text`)
    if (!CUSTOM_ID.test(customId))
      throw new BodyFault(`${at}.custom_id: expected ${CUSTOM_ID_SHAPE}`)
    if (this.#names.has(customId))
      throw new BodyFault(`${at}.custom_id: expected one that no other entry has`)
    if (params === null) throw new BodyFault(`${at}.params: expected an object`)
    this.#names.add(customId)
    this.#waiting.push({ name: customId, params })
  }

  /** Reads, and hands over the pages that are full then. */
  async take(read: () => void): Promise<void> {
    read()
    for (let full = this.#full(); full > 0; full = this.#full()) await this.#send(full)
  }

  async commit(): Promise<Uint8Array> {
    const { client, opened } = this.#of
    const entries = this.#names.size
    if (entries === 0) throw new BodyFault('requests: expected at least one entry')
    if (this.#waiting.length > 0) await this.#send(this.#waiting.length)
    return client.batch('commit', JSON.stringify({ id: opened.id, pages: this.#page, entries }))
  }

  /** How many entries make a page; 0: there are not enough yet. */
  #full(): number {
    let bytes = 0
    for (const [i, { name, params }] of this.#waiting.entries()) {
      bytes += name.length + params.length + ENTRY_OVERHEAD_BYTES
      if (bytes > this.#of.opened.page_bytes) return Math.max(1, i)
      if (i + 1 === PAGE_ENTRIES_MAX) return PAGE_ENTRIES_MAX
    }
    return 0
  }

  async #send(count: number): Promise<void> {
    const { client, opened } = this.#of
    const entries = this.#waiting.splice(0, count)
    const head: PageHead = {
      id: opened.id,
      page: this.#page,
      entries: entries.map(({ name, params }) => [name, params.length]),
    }
    const line = Buffer.from(`${JSON.stringify(head)}\n`)
    await client.batch('page', Buffer.concat([line, ...entries.map(({ params }) => params)]))
    this.#page += 1
  }
}
