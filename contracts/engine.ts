/** Imported first by each door of the package: an older Node would fail later, somewhere, with the name of a
 *  function that it does not have. */

/** As `engines` of package.json says; a test holds the two equal. */
const NODE_MIN: readonly [major: number, minor: number] = [22, 18]

const version = globalThis.process?.versions?.node
const [major = 0, minor = 0] = (version ?? '').split('.').map(Number)
const recent = major > NODE_MIN[0] || (major === NODE_MIN[0] && minor >= NODE_MIN[1])
// What is no Node is not judged.
if (version !== undefined && !recent)
  throw new Error(`headgate: Node ${NODE_MIN.join('.')} or later is needed; this is ${version}`)

export {}
