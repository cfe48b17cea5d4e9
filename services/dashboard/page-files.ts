/** The page's files, read once and compressed once: what stands in `page/`, and uPlot. From the source tree
 *  a `.ts` file is served as JavaScript, its types taken out; in `dist/` the build has done so. */
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { brotliCompressSync, constants, gzipSync } from 'node:zlib'
import { pageScript } from './page-script.ts'
import { runbookPage } from './runbook-page.ts'

export interface PageFile {
  type: string
  etag: string
  plain: Buffer
  gzip: Buffer
  br: Buffer
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
    const text = (): string => readFileSync(new URL(name, PAGE), 'utf8')
    const [, stem = '', kind = ''] = /^([\w-]+)\.(ts|js|css|html|svg)$/.exec(name) ?? []
    if (stem === '' || name.endsWith('.d.ts')) continue
    if (kind === 'html') files.set(stem === 'index' ? '/' : `/page/${name}`, fileOf(text(), kind))
    else if (kind === 'ts') files.set(`/page/${stem}.js`, fileOf(pageScript(text(), name), 'js'))
    else files.set(`/page/${name}`, fileOf(text(), kind))
  }
  const vendored = (from: string): string => readFileSync(resolve(from), 'utf8')
  files.set('/runbook', fileOf(runbookPage(), 'html'))
  files.set('/vendor/uplot.js', fileOf(vendored('uplot/dist/uPlot.iife.min.js'), 'js'))
  files.set('/vendor/uplot.css', fileOf(vendored('uplot/dist/uPlot.min.css'), 'css'))
  return files
}

function fileOf(text: string, kind: string): PageFile {
  const plain = Buffer.from(text)
  return {
    type: TYPES[kind] ?? 'application/octet-stream',
    etag: `"${createHash('sha256').update(plain).digest('base64url').slice(0, 22)}"`,
    plain,
    gzip: gzipSync(plain, { level: 9 }),
    br: brotliCompressSync(plain, {
      params: { [constants.BROTLI_PARAM_QUALITY]: BROTLI_QUALITY },
    }),
  }
}
