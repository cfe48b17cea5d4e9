/** A compose file as data. */
import { parse } from 'yaml'
import { read } from './tree.ts'

export interface Service {
  image?: string
  build?: { context: string; dockerfile: string }
  command?: string[]
  entrypoint?: string[]
  profiles?: string[]
  ports?: string[]
  volumes?: string[]
  user?: string
  read_only?: boolean
  cap_drop?: string[]
  cap_add?: string[]
  security_opt?: string[]
  stop_grace_period?: string
  environment?: Record<string, string | null>
  depends_on?: Record<string, { condition: string }> | string[]
  healthcheck?: { test?: string[] }
  logging?: { driver: string; options: Record<string, string> }
  mem_limit?: string
  cpus?: number
  pids_limit?: number
}

export interface Compose {
  services: Record<string, Service>
  volumes: Record<string, unknown>
}

export const compose = (path = 'docker-compose.yml'): Compose => parse(read(path), { merge: true })

/** What a service runs, with `$$` as compose reads it. */
export const commandOf = ({ entrypoint = [], command = [] }: Service): string[] =>
  [...entrypoint, ...command].map((word) => word.replaceAll('$$', '$'))
