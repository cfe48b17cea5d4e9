/** A Dockerfile followed by hand: its own COPY and RUN lines, in empty folders, without a container. What is
 *  not held so: the base image, its users (nothing changes its owner here), another platform. */
import { spawnSync } from 'node:child_process'
import {
  copyFileSync,
  cpSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readlinkSync,
  symlinkSync,
} from 'node:fs'
import { basename, delimiter, dirname, join } from 'node:path'
import { filesOf, inRoot, read, root, topLevel } from './tree.ts'

export interface Instruction {
  name: string
  rest: string
}

export interface Image {
  /** Where the last stage's files are. */
  folder: string
  env: Record<string, string>
  entrypoint: string[]
  command: string[]
  healthcheck: string[]
}

export const instructionsOf = (path: string): Instruction[] =>
  read(path)
    .replaceAll(/\\\n/g, ' ')
    .split('\n')
    .filter((line) => line.trim() !== '' && !line.startsWith('#'))
    .map((line) => {
      const [, name = '', rest = ''] = /^(\S+)\s+(.*)$/.exec(line.trim()) ?? []
      return { name: name.toUpperCase(), rest }
    })

/** The files of the repository that an ignore file of the form "nothing, but these" lets through. */
export function contextOf(ignoreFile: string): (path: string) => boolean {
  const [first, ...others] = read(ignoreFile)
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
  if (first !== '*' || others.some((line) => !/^!\.?[\w/.-]+$/.test(line)))
    throw new Error(`${ignoreFile}: only * and then !path is understood here`)
  const through = others.map((line) => line.slice(1))
  return (path) => through.some((one) => path === one || path.startsWith(`${one}/`))
}

/** Follows it below `into`, which is empty. */
export function replay(path: string, into: string): Image {
  const inContext = contextOf(`${path}.dockerignore`)
  const stages = new Map<string, string>()
  const image: Image = { folder: '', env: {}, entrypoint: [], command: [], healthcheck: [] }
  for (const { name, rest } of instructionsOf(path)) {
    switch (name) {
      case 'FROM': {
        const stage = / AS (\S+)$/i.exec(rest)?.[1] ?? 'last'
        image.folder = join(into, stage)
        image.env = {}
        stages.set(stage, image.folder)
        mkdirSync(image.folder)
        break
      }
      case 'COPY': {
        copy({ rest, inContext, stages, image })
        break
      }
      case 'RUN': {
        run(rest.replace(/ && chown [\w:]+ \w+$/, ''), image)
        break
      }
      case 'ENV': {
        const [key = '', value = ''] = rest.split('=')
        image.env[key] = value
        break
      }
      case 'ENTRYPOINT': {
        image.entrypoint = JSON.parse(rest)
        break
      }
      case 'CMD': {
        image.command = JSON.parse(rest)
        break
      }
      case 'HEALTHCHECK': {
        image.healthcheck = JSON.parse(rest.slice(rest.indexOf('CMD ') + 4))
        break
      }
      case 'WORKDIR':
      case 'USER':
      case 'EXPOSE': {
        break
      }
      default: {
        throw new Error(`${path}: ${name} is not understood here`)
      }
    }
  }
  return image
}

function copy(of: {
  rest: string
  inContext: (path: string) => boolean
  stages: Map<string, string>
  image: Image
}): void {
  const words = of.rest.split(/\s+/)
  const from = /^--from=(\S+)$/.exec(words[0] ?? '')?.[1]
  if (from !== undefined) words.shift()
  const to = words.pop() ?? ''
  for (const word of words) {
    const source = word.replace(/\/$/, '')
    const folder = word.endsWith('/')
    const target = join(of.image.folder, folder ? to : join(to, basename(source)))
    if (from !== undefined) {
      const path = join(of.stages.get(from) ?? '', source.replace(/^\/app\//, ''))
      cpSync(path, target, { recursive: true, verbatimSymlinks: true })
      continue
    }
    const found = (folder ? filesOf([source], /./) : topLevel().filter((one) => one === source))
      .filter((one) => of.inContext(one))
      .filter((one) => !one.includes('/node_modules/'))
    if (found.length === 0) throw new Error(`COPY ${word}: not in the build's context`)
    for (const one of found) {
      const at = folder ? join(target, one.slice(source.length)) : target
      mkdirSync(dirname(at), { recursive: true })
      copyFileSync(inRoot(one), at)
    }
  }
}

/** `npm ci` is asked whether it could, and done by linking: what it would fetch stands in this repository's
 *  node_modules, made from the same lock file. */
function run(line: string, image: Image): void {
  const install = /^npm ci( [-\w=]+)*$/.test(line)
  if (install) linkTree(join(root, 'node_modules'), join(image.folder, 'node_modules'))
  shell(install ? `${line} --dry-run --offline` : line, image)
}

function shell(line: string, image: Image): void {
  const path = [dirname(process.execPath), process.env['PATH'] ?? '']
  const ran = spawnSync(line, {
    shell: true,
    cwd: image.folder,
    encoding: 'utf8',
    env: { ...image.env, HOME: process.env['HOME'], PATH: path.join(delimiter) },
  })
  if (ran.status !== 0) throw new Error(`RUN ${line}\n${ran.stdout}\n${ran.stderr}`)
}

/** Hard links, but copies of what npm itself writes into; folders that start with a dot are caches. */
function linkTree(from: string, to: string): void {
  mkdirSync(to, { recursive: true })
  for (const entry of readdirSync(from, { withFileTypes: true })) {
    const [source, target] = [join(from, entry.name), join(to, entry.name)]
    if (entry.isSymbolicLink()) symlinkSync(readlinkSync(source), target)
    else if (entry.isDirectory()) {
      if (!entry.name.startsWith('.') || entry.name === '.bin') linkTree(source, target)
    } else if (entry.name === '.package-lock.json') copyFileSync(source, target)
    else linkOrCopy(source, target)
  }
}

function linkOrCopy(source: string, target: string): void {
  try {
    linkSync(source, target)
  } catch (error) {
    // Another disk, or a file system without links.
    const { code } = error as NodeJS.ErrnoException
    if (code !== 'EXDEV' && code !== 'EPERM' && code !== 'EMLINK') throw error
    copyFileSync(source, target)
  }
}
