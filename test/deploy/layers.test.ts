// Layers are made in a folder that every process here shares: test files and `serverless package` may run at once.

import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'

type MakeOnce = (folder: string, inputs: string, make: (partial: string) => void) => void
const { makeOnce } = (await import(join(import.meta.dirname, '../../layers/build.mjs'))) as {
  makeOnce: MakeOnce
}
let room: string
let folder: string
beforeEach(() => {
  room = mkdtempSync(join(tmpdir(), 'glimpse-layers-'))
  folder = join(room, 'layer')
})
afterEach(() => rmSync(room, { recursive: true }))

const fill = (text: string) => (path: string) => {
  mkdirSync(path, { recursive: true })
  writeFileSync(join(path, 'file'), text)
}
const read = () => readFileSync(join(folder, 'file'), 'utf8')

test('is made once for the same inputs, and anew for others', () => {
  makeOnce(folder, 'a', fill('first'))
  makeOnce(folder, 'a', fill('second'))
  expect(read()).toBe('first')
  makeOnce(folder, 'b', fill('third'))
  expect(read()).toBe('third')
  expect(existsSync(`${folder}.${process.pid}`)).toBe(false)
})

test('what another process has put there meanwhile stays', () => {
  makeOnce(folder, 'a', (partial) => {
    fill('mine')(partial)
    fill('theirs')(folder)
  })
  expect(read()).toBe('theirs')
  expect(existsSync(`${folder}.${process.pid}`)).toBe(false)
})

test('a failure leaves nothing that looks whole', () => {
  const fail = () => {
    throw new Error('The disk is full.')
  }
  expect(() => makeOnce(folder, 'a', fail)).toThrow('The disk is full.')
  makeOnce(folder, 'a', fill('again'))
  expect(read()).toBe('again')
})
