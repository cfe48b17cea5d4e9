/** The browser's clock and timers; the only file of the page that touches them. */

/** Wall time, milliseconds since 1970. */
export const wallNow = (): number => Date.now()

/** Calls once, later; the answer cancels it. */
export function after(ms: number, call: () => void): () => void {
  const timer = setTimeout(call, ms)
  return () => clearTimeout(timer)
}

/** Calls again and again; the answer ends it. */
export function every(ms: number, call: () => void): () => void {
  const timer = setInterval(call, ms)
  return () => clearInterval(timer)
}

/** `draw` runs once in the next animation frame, however often it was asked for meanwhile. */
export function oncePerFrame(draw: () => void): () => void {
  let asked = false
  return () => {
    if (asked) return
    asked = true
    requestAnimationFrame(() => {
      asked = false
      draw()
    })
  }
}
