/** Imported into a scheduler's process: errors that nobody catches, every 100 ms, in a timer and in a promise,
 *  from its start on. */
setInterval(() => {
  if (process.listenerCount('uncaughtException') === 0) return
  void Promise.reject(new Error('planted text'))
  throw new TypeError('planted text')
}, 100).unref()
