/** The fenced blocks of a page. */
import { read } from './tree.ts'

export interface Fenced {
  page: string
  /** Of its first line of content, from 1. */
  line: number
  /** Empty where the fence names none. */
  language: string
  text: string
}

const FENCE = /^( *)```(\w*)\n(.*?)^\1```$/gms

export const fencedOf = (page: string): Fenced[] => {
  const whole = read(page)
  return [...whole.matchAll(FENCE)].map(
    ({ index, 1: indent = '', 2: language = '', 3: text = '' }) => ({
      page,
      line: whole.slice(0, index).split('\n').length + 1,
      language,
      text: text.replaceAll(new RegExp(`^${indent}`, 'gm'), ''),
    }),
  )
}
