/** The order in which one tenant's requests stand in its queue: joining it anywhere and leaving it cost no lookup. */
export interface Ordered<Item> {
  before: Item | null
  after: Item | null
}

export interface Order<Item> {
  head: Item | null
  tail: Item | null
}

/** Behind `before`; null: at the head. */
export function link<Item extends Ordered<Item>>(
  order: Order<Item>,
  request: Item,
  before: Item | null,
): void {
  const after = before === null ? order.head : before.after
  request.before = before
  request.after = after
  if (before === null) order.head = request
  else before.after = request
  if (after === null) order.tail = request
  else after.before = request
}

/** True: it was the head. */
export function unlink<Item extends Ordered<Item>>(order: Order<Item>, request: Item): boolean {
  const { before, after } = request
  if (before === null) order.head = after
  else before.after = after
  if (after === null) order.tail = before
  else after.before = before
  request.before = null
  request.after = null
  return before === null
}
