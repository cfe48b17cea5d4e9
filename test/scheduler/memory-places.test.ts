/** Places in the store in memory, beside the plainest list that does the same. */
import { expect, test } from 'vitest'
import { seededDice } from '#core/estimators/dice'
import { Places } from '#scheduler/memory/places'

test('say what a plain list says, whatever is taken out of them and in which order', () => {
  for (let seed = 1; seed <= 40; seed++) {
    const dice = seededDice(seed)
    const places = new Places()
    let plain: number[] = []
    let last = 0
    const anywhere = (): number => Math.floor(dice.next() * (last + 2))
    for (let turn = 0; turn < 300; turn++) {
      const roll = dice.next()
      if (roll < 0.4) {
        last += 1 + Math.floor(dice.next() * 3)
        places.push(last)
        plain.push(last)
      } else if (roll < 0.9) {
        // Mostly near the front, as work is done; now and then one that is not there.
        const place =
          dice.next() < 0.7 ? (plain[Math.floor(dice.next() * 4)] ?? anywhere()) : anywhere()
        places.drop(place)
        plain = plain.filter((one) => one !== place)
      }
      const from = anywhere()
      const rest = plain.filter((one) => one >= from)
      const next = rest.length === 0 ? null : { place: rest[0], behind: rest.length - 1 }
      expect([places.size, places.next(from), [...places.from(from)]]).toEqual([
        ...[plain.length, next, rest],
      ])
    }
  }
})

test('give back what was long ago taken out', () => {
  const places = new Places()
  for (let place = 1; place <= 10_000; place++) {
    places.push(place)
    if (place > 10) places.drop(place - 10)
  }
  expect([...places.from(0)]).toEqual(Array.from({ length: 10 }, (_, i) => 9_991 + i))
})
