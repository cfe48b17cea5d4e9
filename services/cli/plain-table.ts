/** Two spaces between columns and nothing else. */
import type { TableConstructorOptions } from 'cli-table3'

export const PLAIN_TABLE = {
  chars: Object.fromEntries(
    'top top-mid top-left top-right bottom bottom-mid bottom-left bottom-right left left-mid mid mid-mid right right-mid middle'
      .split(' ')
      .map((place) => [place, '']),
  ),
  style: { head: [], border: [], 'padding-left': 0, 'padding-right': 2 },
} satisfies TableConstructorOptions
