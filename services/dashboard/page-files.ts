/** The page's files, read once: what stands in `page/`, and uPlot. From the source tree a `.ts` file is served as
 *  JavaScript, its types taken out; in `dist/` the build has done so. That, and compressing, is done for the first
 *  who asks: most schedulers start without a reader. */
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { brotliCompressSync, constants, gzipSync } from 'node:zlib'
import { pageScript } from './page-script.ts'
import { runbookPage } from './runbook-page.ts'

export interface PageFile {
  readonly type: string
  readonly etag: string
  readonly plain: Buffer
  readonly gzip: Buffer
  readonly br: Buffer
}
/** By path. */
export type PageFiles = ReadonlyMap<string, PageFile>

const TYPES: Readonly<Record<string, string>> = {
  html: 'text/html; charset=utf-8',
  css: 'text/css; charset=utf-8',
  js: 'text/javascript; charset=utf-8',
  svg: 'image/svg+xml',
}

/** The best that compresses a megabyte in a few tens of milliseconds. */
const BROTLI_QUALITY = 8

const PAGE = new URL('./page/', import.meta.url)

export function pageFiles(): PageFiles {
  const { resolve } = createRequire(import.meta.url)
  const files = new Map<string, PageFile>()
  for (const name of readdirSync(PAGE).sort()) {
    const [, stem = '', kind = ''] = /^([\w-]+)\.(ts|js|css|html|svg)$/.exec(name) ?? []
    if (stem === '' || name.endsWith('.d.ts')) continue
    const text = readFileSync(new URL(name, PAGE), 'utf8')
    if (kind === 'ts')
      files.set(`/page/${stem}.js`, new LazyFile('js', () => pageScript(text, name)))
    else files.set(name === 'index.html' ? '/' : `/page/${name}`, new LazyFile(kind, () => text))
  }
  const vendored = (kind: string, from: string): PageFile => {
    const text = readFileSync(resolve(from), 'utf8')
    return new LazyFile(kind, () => text)
  }
  files.set('/runbook', new LazyFile('html', runbookPage))
  files.set('/vendor/uplot.js', vendored('js', 'uplot/dist/uPlot.iife.min.js'))
  files.set('/vendor/uplot.css', vendored('css', 'uplot/dist/uPlot.min.css'))
  return files
}

class LazyFile implements PageFile {
  readonly type: string
  readonly #text: () => string
  #plain: Buffer | null = null
  #etag: string | null = null
  #gzip: Buffer | null = null
  #br: Buffer | null = null

  constructor(kind: string, text: () => string) {
    this.type = TYPES[kind] ?? 'application/octet-stream'
    this.#text = text
  }

  get plain(): Buffer {
    return (this.#plain ??= Buffer.from(this.#text()))
  }

  get etag(): string {
    const hash = (): string => createHash('sha256').update(this.plain).digest('base64url')
    return (this.#etag ??= `"${hash().slice(0, 22)}"`)
  }

  get gzip(): Buffer {
    return (this.#gzip ??= gzipSync(this.plain, { level: 9 }))
  }

  get br(): Buffer {
    const params = { [constants.BROTLI_PARAM_QUALITY]: BROTLI_QUALITY }
    return (this.#br ??= brotliCompressSync(this.plain, { params }))
  }
}
