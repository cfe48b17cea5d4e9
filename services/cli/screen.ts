/** A whole terminal for a while: the alternate screen, drawn in place, and given back as it was. */
import { stripVTControlCharacters } from 'node:util'
import { createLogUpdate } from 'log-update'

export interface Screen {
  /** At most so many columns and lines may be drawn; the last of each stays free, so that no terminal wraps
   *  or scrolls. */
  size(): { columns: number; rows: number }
  draw(lines: readonly string[]): void
  /** Gives the terminal back; twice does nothing more. */
  close(): void
}

const ENTER = '\u001b[?1049h\u001b[?25l\u001b[2J\u001b[H'
const LEAVE = '\u001b[?25h\u001b[?1049l'
const CLEAR = '\u001b[2J\u001b[H'
const CTRL_C = '\u0003'

/** Whether there is a terminal that can be drawn upon. */
export const drawable = (to: NodeJS.WriteStream): boolean =>
  to.isTTY && process.env['TERM'] !== 'dumb'

export function openScreen(of: {
  input: NodeJS.ReadStream
  output: NodeJS.WriteStream
  /** `q` or Ctrl-C. */
  onQuit(): void
  /** The size is another one, and nothing is drawn. */
  onResize(): void
}): Screen {
  const { input, output } = of
  let open = true
  const painter = () => createLogUpdate(output, { showCursor: true })
  let paint = painter()
  const resized = (): void => {
    output.write(CLEAR)
    paint = painter()
    of.onResize()
  }
  const pressed = (data: Buffer): void => {
    const keys = stripVTControlCharacters(data.toString('latin1').replaceAll(CTRL_C, 'q'))
    if (/q/i.test(keys)) of.onQuit()
  }
  const close = (): void => {
    if (!open) return
    open = false
    output.off('resize', resized)
    input.off('data', pressed)
    process.off('exit', close)
    if (input.isTTY) {
      input.setRawMode(false)
      input.pause()
    }
    output.write(LEAVE)
  }
  process.on('exit', close)
  output.write(ENTER)
  output.on('resize', resized)
  if (input.isTTY) {
    input.setRawMode(true)
    input.on('data', pressed)
  }
  return {
    size: () => ({ columns: output.columns - 1, rows: output.rows - 1 }),
    draw: (lines) => {
      if (open) paint(lines.join('\n'))
    },
    close,
  }
}
