/** A screenshot with 256 colours at most: a fifth of its bytes, and to the eye the same. */
import { deflateSync, inflateSync } from 'node:zlib'

const SIGNATURE = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a])
const COLORS_MAX = 256

/** Takes what Chromium makes: 8 bits a channel, RGB or RGBA, not interlaced. */
export function palettePng(png: Buffer): Buffer {
  const { width, height, channels, rows } = decode(png)
  const counts = new Map<number, number>()
  const pixels = new Uint32Array(width * height)
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++) {
      const at = (y * width + x) * channels
      const color = (rows[at]! << 16) | (rows[at + 1]! << 8) | rows[at + 2]!
      pixels[y * width + x] = color
      counts.set(color, (counts.get(color) ?? 0) + 1)
    }
  const palette = paletteOf(counts)
  const nearest = new Map<number, number>(palette.map((color, index) => [color, index]))
  const raw = Buffer.alloc((width + 1) * height)
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++) {
      const color = pixels[y * width + x]!
      let index = nearest.get(color)
      if (index === undefined) nearest.set(color, (index = closest(palette, color)))
      raw[y * (width + 1) + 1 + x] = index
    }
  const head = Buffer.alloc(13)
  head.writeUInt32BE(width, 0)
  head.writeUInt32BE(height, 4)
  head.set([8, 3, 0, 0, 0], 8)
  const colors = Buffer.from(
    palette.flatMap((color) => [color >> 16, (color >> 8) & 255, color & 255]),
  )
  return Buffer.concat([
    SIGNATURE,
    chunk('IHDR', head),
    chunk('PLTE', colors),
    chunk('IDAT', deflateSync(raw, { level: 9 })),
    chunk('IEND', Buffer.alloc(0)),
  ])
}

/** The frequent ones, as long as they differ; rare shades of the same are the edges of letters. */
function paletteOf(counts: ReadonlyMap<number, number>): number[] {
  const sorted = [...counts].sort((a, b) => b[1] - a[1]).map(([color]) => color)
  for (let apart = 0; ; apart += 4) {
    const palette: number[] = []
    for (const color of sorted) {
      if (palette.some((one) => distance(one, color) < apart * apart)) continue
      palette.push(color)
      if (palette.length > COLORS_MAX) break
    }
    if (palette.length <= COLORS_MAX) return palette
  }
}

function closest(palette: readonly number[], color: number): number {
  let [best, least] = [0, Infinity]
  for (const [index, one] of palette.entries()) {
    const apart = distance(one, color)
    if (apart < least) [best, least] = [index, apart]
  }
  return best
}

function distance(a: number, b: number): number {
  const part = (shift: number): number => ((a >> shift) & 255) - ((b >> shift) & 255)
  return part(16) ** 2 + part(8) ** 2 + part(0) ** 2
}

// ---- the format ----

function decode(png: Buffer): { width: number; height: number; channels: number; rows: Buffer } {
  const parts: Buffer[] = []
  let head = Buffer.alloc(0)
  for (let at = SIGNATURE.length; at < png.length;) {
    const length = png.readUInt32BE(at)
    const data = png.subarray(at + 8, at + 8 + length)
    const type = png.toString('latin1', at + 4, at + 8)
    if (type === 'IHDR') head = Buffer.from(data)
    if (type === 'IDAT') parts.push(data)
    at += length + 12
  }
  const [width, height] = [head.readUInt32BE(0), head.readUInt32BE(4)]
  const channels = head[9] === 6 ? 4 : 3
  if (head[8] !== 8 || (head[9] !== 6 && head[9] !== 2) || head[12] !== 0)
    throw new Error('not a screenshot of Chromium')
  return {
    width,
    height,
    channels,
    rows: unfiltered(inflateSync(Buffer.concat(parts)), { width, height, channels }),
  }
}

function unfiltered(raw: Buffer, of: { width: number; height: number; channels: number }): Buffer {
  const stride = of.width * of.channels
  const out = Buffer.alloc(stride * of.height)
  for (let y = 0; y < of.height; y++) {
    const filter = raw[y * (stride + 1)]
    for (let x = 0; x < stride; x++) {
      const left = x < of.channels ? 0 : out[y * stride + x - of.channels]!
      const up = y === 0 ? 0 : out[(y - 1) * stride + x]!
      const corner = y === 0 || x < of.channels ? 0 : out[(y - 1) * stride + x - of.channels]!
      const guess = [0, left, up, (left + up) >> 1, paeth(left, up, corner)][filter ?? 0] ?? 0
      out[y * stride + x] = (raw[y * (stride + 1) + 1 + x]! + guess) & 255
    }
  }
  return out
}

function paeth(left: number, up: number, corner: number): number {
  const [a, b, c] = [
    Math.abs(up - corner),
    Math.abs(left - corner),
    Math.abs(left + up - 2 * corner),
  ]
  return a <= b && a <= c ? left : b <= c ? up : corner
}

function chunk(type: string, data: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(type, 'latin1'), data])
  const out = Buffer.alloc(body.length + 8)
  out.writeUInt32BE(data.length, 0)
  body.copy(out, 4)
  out.writeUInt32BE(crc(body), body.length + 4)
  return out
}

function crc(data: Buffer): number {
  let sum = 0xffffffff
  for (const byte of data) {
    sum ^= byte
    for (let bit = 0; bit < 8; bit++) sum = sum & 1 ? (sum >>> 1) ^ 0xedb88320 : sum >>> 1
  }
  return (sum ^ 0xffffffff) >>> 0
}
