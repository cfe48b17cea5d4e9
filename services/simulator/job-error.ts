/** The job asks for something that does not exist; the message says what does. The command ends with status
 *  2, as for any wrong option. */
export class JobError extends Error {
  override readonly name = 'JobError'
}
