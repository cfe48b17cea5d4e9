/** Where the prices come from that are shipped. */

/** Where they were read, and when; nobody looked at a bill. Copies of the pages were read, the youngest that
 *  there was of each. A model that none of them prices is not in the table. */
export const PRICES_SOURCE = {
  date: '2026-11-30',
  /** Anthropic's price list, which has all older models. */
  page: 'https://platform.claude.com/docs/en/about-claude/pricing',
  /** Opus 5.5, Sonnet 5.5 and Haiku 5.5 each have a page like this. */
  models: 'https://platform.claude.com/docs/en/models/opus-5-5/overview',
  /** What the page of the model did not say yet: Haiku 5.5 by the length of a prompt, and cache reads of Sonnet 5.5
   *  since 2026-10-07. */
  october: 'https://github.com/kurofune/claudit/releases/tag/v1.9.2',
  /** Fable 5.2; Anthropic's pages say the same of input and output. */
  november: 'https://github.com/archid21/rightsize/releases/tag/v0.10.2',
  /** Twice the price, for every kind of token. */
  fast: 'https://platform.claude.com/docs/en/build-with-claude/fast-mode',
  /** 1.1 times the price where inference stays in the US, of Opus 4.6, Sonnet 4.6 and later. */
  residency: 'https://docs.aws.amazon.com/claude-platform/latest/userguide/data-residency.html',
} as const
