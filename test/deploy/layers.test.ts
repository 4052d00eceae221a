// makeOnce of layers/build.mjs. Test files and `serverless package` may build the same layer folder at the same time.

import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'

type MakeOnce = (folder: string, inputs: string, make: (partial: string) => void) => void
const { makeOnce } = (await import(join(import.meta.dirname, '../../layers/build.mjs'))) as {
  makeOnce: MakeOnce
}
let parent: string
let folder: string
beforeEach(() => {
  parent = mkdtempSync(join(tmpdir(), 'glimpse-layers-'))
  folder = join(parent, 'layer')
})
afterEach(() => rmSync(parent, { recursive: true }))

const fill = (text: string) => (path: string) => {
  mkdirSync(path, { recursive: true })
  writeFileSync(join(path, 'file'), text)
}
const read = () => readFileSync(join(folder, 'file'), 'utf8')

test('builds once for the same inputs, and again for others', () => {
  makeOnce(folder, 'a', fill('first'))
  makeOnce(folder, 'a', fill('second'))
  expect(read()).toBe('first')
  makeOnce(folder, 'b', fill('third'))
  expect(read()).toBe('third')
  expect(existsSync(`${folder}.${process.pid}`)).toBe(false)
})

test('keeps a layer that another process completed meanwhile', () => {
  makeOnce(folder, 'a', (partial) => {
    fill('this process')(partial)
    fill('another process')(folder)
  })
  expect(read()).toBe('another process')
  expect(existsSync(`${folder}.${process.pid}`)).toBe(false)
})

test('builds again after a failure', () => {
  const fail = () => {
    throw new Error('The disk is full.')
  }
  expect(() => makeOnce(folder, 'a', fail)).toThrow('The disk is full.')
  makeOnce(folder, 'a', fill('again'))
  expect(read()).toBe('again')
})
