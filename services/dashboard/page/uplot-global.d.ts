/** uPlot comes as a classic script, so the page sees a global. Only what the page uses of it. */
interface UPlotInstance {
  readonly cursor: { idx?: number | null }
  readonly scales: Record<string, { min?: number | null; max?: number | null }>
  readonly bbox: { left: number; top: number; width: number; height: number }
  readonly ctx: CanvasRenderingContext2D
  setData(data: readonly (readonly (number | null)[])[], resetScales?: boolean): void
  setScale(key: string, limits: { min: number; max: number }): void
  setSize(size: { width: number; height: number }): void
  valToPos(value: number, scale: string, canvasPixels?: boolean): number
  destroy(): void
}

interface UPlotConstructor {
  new (
    options: Record<string, unknown>,
    data: readonly (readonly (number | null)[])[],
    target: HTMLElement,
  ): UPlotInstance
  paths: { stepped(options: { align: 1 | -1 }): unknown }
}

// eslint-disable-next-line no-unused-vars
declare const uPlot: UPlotConstructor | undefined
