/** Mutants of a source: places where a small change makes another program, found in its text. There is no parser:
 *  types are blanked by Node, texts and comments here, and the rest is read by the shape that prettier gives it. */
import { stripTypeScriptTypes } from 'node:module'

export interface Place {
  /** Offset in the source. */
  at: number
  length: number
  /** What stands there instead. */
  by: string
  /** What kind of change it is. */
  operator: string
}

/** Every place of a TypeScript source, in order. Throws where it is none. */
export function placesOf(source: string): Place[] {
  const code = masked(blankTypes(source))
  return [
    ...swaps(code),
    ...constants(code),
    ...fallbacks(code),
    ...conditions(code, source),
    ...statements(code),
  ].toSorted((a, b) => a.at - b.at || a.length - b.length || (a.by < b.by ? -1 : 1))
}

export const mutated = (source: string, { at, length, by }: Place): string =>
  source.slice(0, at) + by + source.slice(at + length)

export function isProgram(source: string): boolean {
  try {
    blankTypes(source)
    return true
  } catch {
    return false
  }
}

/** The number of the line, from 1, and the text of all lines that this piece stands in, as one. */
export function lineOf(source: string, at: number, length = 0): { line: number; text: string } {
  const from = source.lastIndexOf('\n', at - 1) + 1
  const end = source.indexOf('\n', at + length)
  const text = source.slice(from, end === -1 ? source.length : end)
  return { line: source.slice(0, at).split('\n').length, text: text.trim().replace(/\n\s*/g, ' ') }
}

/** The same length, so that offsets stay. */
function blankTypes(source: string): string {
  const code = stripTypeScriptTypes(source)
  if (code.length !== source.length) throw new Error('stripping types has moved the code')
  return code
}

/** What stands for each character of a text: neither a space nor a part of a word. */
const TEXT_CHAR = '\u0001'

/** Comments as spaces, texts and regular expressions as `TEXT_CHAR`, of the same length; what stands in `${}` is code. */
export function masked(code: string): string {
  const TOKEN =
    /\/\*[^]*?\*\/|\/\/[^\n]*|'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|(?<=(?:[(,=:[!&|?{};\n]|=>|return)\s*)\/(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\\n[])+\/[a-z]*|[`{}]/g
  const TEXT = /(?:\\[^]|\$(?!\{)|[^`\\$])*(`|\$\{)/y
  /** Open braces: of a text in backticks, or of code. */
  const open: ('text' | 'code')[] = []
  let out = ''
  let at = 0
  const goTo = (to: number, as?: string) => {
    const piece = code.slice(at, to)
    out += as === undefined ? piece : piece.replace(/[^\n]/g, as)
    at = to
  }
  const text = () => {
    TEXT.lastIndex = at
    const [found, end] = TEXT.exec(code) ?? [code.slice(at), '`']
    if (end === '${') open.push('text')
    goTo(at + found.length, TEXT_CHAR)
  }
  for (;;) {
    TOKEN.lastIndex = at
    const token = TOKEN.exec(code)
    if (token === null) break
    goTo(token.index)
    const [found] = token
    if (found === '{') open.push('code')
    const intoText = found === '`' || (found === '}' && open.pop() === 'text')
    const isCode = found === '{' || (found === '}' && !intoText)
    const isComment = found.startsWith('/*') || found.startsWith('//')
    goTo(at + found.length, isCode ? undefined : isComment ? ' ' : TEXT_CHAR)
    if (intoText) text()
  }
  goTo(code.length)
  return out
}

const SWAPS: Readonly<Record<string, readonly [RegExp, Readonly<Record<string, string>>]>> = {
  comparison: [
    /(?<=\s)(?:<=?|>=?|[!=]==)(?=\s)/g,
    { '<': '<=', '<=': '<', '>': '>=', '>=': '>', '===': '!==', '!==': '===' },
  ],
  'and, or': [/(?<=\s)(?:&&|\|\|)(?=\s)/g, { '&&': '||', '||': '&&' }],
  // Not where it joins texts.
  'plus, minus': [
    /(?<!\u0001\s*)(?<=\s)[+-]=?(?=\s)(?!\S+\s+\u0001)|\+\+|--/g,
    { '+': '-', '-': '+', '+=': '-=', '-=': '+=', '++': '--', '--': '++' },
  ],
  'true, false': [/(?<![\w.#$])(?:true|false)\b(?!\s*:)/g, { true: 'false', false: 'true' }],
}

function swaps(code: string): Place[] {
  return Object.entries(SWAPS).flatMap(([operator, [pattern, to]]) =>
    [...code.matchAll(pattern)].map(({ 0: found, index: at }) => ({
      at,
      length: found.length,
      by: to[found]!,
      operator,
    })),
  )
}

function constants(code: string): Place[] {
  return [...code.matchAll(/(?<![\w.$])\d[\d_]*(?:\.\d+)?(?![\w.])/g)].flatMap(
    ({ 0: found, index: at }) =>
      [1, -1].map((more) => ({
        at,
        length: found.length,
        by: String(Number(found.replaceAll('_', '')) + more),
        operator: 'constant',
      })),
  )
}

/** `a ?? b` as `a`, and as `b`. */
function fallbacks(code: string): Place[] {
  return [...code.matchAll(/\s\?\?\s+/g)].flatMap(({ 0: found, index: at }) => {
    const left = operandBefore(code, at)
    const right = at + found.length
    return [
      { at: left, length: right - left, by: '', operator: 'always the fallback' },
      { at, length: operandsAfter(code, right) - at, by: '', operator: 'no fallback' },
    ]
  })
}

function conditions(code: string, source: string): Place[] {
  return [...code.matchAll(/\bif \(/g)].map(({ 0: found, index }) => {
    const at = index + found.length
    const length = closesAt(code, at - 1) - at
    return { at, length, by: `!(${source.slice(at, at + length)})`, operator: 'condition' }
  })
}

/** Lines that are a call or an early return, as nothing. Of others of this shape nothing makes no program. */
function statements(code: string): Place[] {
  const CALL = /^(?:if \(.*\) )?(?:(?:await|void) )?[\w$.#?!]+\(.*\)$/
  const EARLY = /^if \(.*\) return\b.*$/
  return [...code.matchAll(/^[ ]*(\S.*)$/gm)].flatMap(({ 0: line, 1: rest = '', index }) => {
    const text = rest.trimEnd()
    if (!(CALL.test(text) || EARLY.test(text)) || !isBalanced(text)) return []
    const at = index + line.length - rest.length
    return [{ at, length: text.length, by: ';', operator: 'without the statement' }]
  })
}

// ---- brackets ----

const OPENS = '([{'
const CLOSES: Readonly<Record<string, string>> = { ')': '(', ']': '[', '}': '{' }

/** Where a chain of names, calls and indexes that ends here begins. */
function operandBefore(code: string, end: number): number {
  let at = end
  for (;;) {
    const one = code[at - 1] ?? ''
    if (/[\w$.#?!\u0001]/.test(one)) at--
    else if (one === ')' || one === ']') at = opensAt(code, at - 1)
    else return at
  }
}

/** Where an expression that begins here ends. */
function operandsAfter(code: string, begin: number): number {
  for (let at = begin; at < code.length; at++) {
    const one = code[at]!
    if (OPENS.includes(one)) at = closesAt(code, at)
    else if (')]},;\n'.includes(one) || /^ (?:\?\?|[:?]) /.test(code.slice(at, at + 4))) return at
  }
  return code.length
}

function opensAt(code: string, close: number): number {
  let depth = 0
  for (let at = close; at > 0; at--) {
    if (code[at]! in CLOSES) depth++
    else if (OPENS.includes(code[at]!) && --depth === 0) return at
  }
  return 0
}

function closesAt(code: string, open: number): number {
  let depth = 0
  for (let at = open; at < code.length; at++) {
    if (OPENS.includes(code[at]!)) depth++
    else if (code[at]! in CLOSES && --depth === 0) return at
  }
  return code.length
}

export function isBalanced(code: string): boolean {
  const open: string[] = []
  for (const one of code) {
    if (OPENS.includes(one)) open.push(one)
    else if (one in CLOSES && open.pop() !== CLOSES[one]) return false
  }
  return open.length === 0
}
