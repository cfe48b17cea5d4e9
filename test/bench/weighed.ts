/** The scheduler's own main, and a scale beside it: says over IPC how large its heap is after a full
 *  collection. Run with --expose-gc. */
import '../../services/scheduler/main.ts'

process.on('message', (message) => {
  if (message !== 'weigh') return
  globalThis.gc?.()
  globalThis.gc?.()
  const { heapUsed, external, arrayBuffers, rss } = process.memoryUsage()
  process.send?.({ type: 'weight', heapUsed, external, arrayBuffers, rss })
})
