import { beforeEach, describe, expect, test } from 'vitest'
import { type Line, openLine, type Place, secondsOf } from '../../src/serve/line.ts'

const never = () => new AbortController().signal
let line: Line
let order: string[]

beforeEach(() => {
  line = openLine({ places: 4, atOnce: 1 })
  order = []
})

/** Enters and asks for its turn; the place, to be left when the answer is there. */
function ask(tenant: string, others = 0): Place & { hasTurn: Promise<number> } {
  const place = line.enter(tenant, others)
  const hasTurn = place.turn(never())
  hasTurn.then(
    () => order.push(tenant),
    () => {},
  )
  return { ...place, hasTurn }
}

/** Leaves one after another, as each gets its turn. */
async function serve(places: ReturnType<typeof ask>[]): Promise<string[]> {
  const left = places.map(({ hasTurn, leave }) => hasTurn.then(leave))
  await Promise.all(left)
  return order
}

test('one tenant gets its turns in the order of asking, at most atOnce of them at a time', async () => {
  line = openLine({ places: 4, atOnce: 2 })
  const [a, b, c] = [ask('a'), ask('a'), ask('a')]
  await Promise.all([a.hasTurn, b.hasTurn])
  expect([line.running, line.waiting]).toEqual([2, 1])
  a.leave()
  await c.hasTurn
  expect([line.running, line.waiting]).toEqual([2, 0])
})

test('with others about, one tenant has one turn at a time, and several have one each', async () => {
  line = openLine({ places: 8, atOnce: 4 })
  const quiet = ask('quiet')
  await quiet.hasTurn
  quiet.leave()
  const flood = [ask('flood'), ask('flood'), ask('flood')]
  await flood[0]!.hasTurn
  expect([line.running, line.waiting]).toEqual([1, 2])
  const again = ask('quiet')
  await again.hasTurn
  expect([line.running, line.waiting]).toEqual([2, 2])
  // The quiet one is answered alone: a batch of two would take longer.
  flood[0]!.leave()
  expect([line.running, line.waiting]).toEqual([1, 2])
  again.leave()
  await flood[1]!.hasTurn
  expect([line.running, line.waiting]).toEqual([1, 1])
})

test('whoever floods gets a turn even when others never cease to ask', async () => {
  line = openLine({ places: 40, atOnce: 2 })
  let last = ask('quiet')
  await last.hasTurn
  const flood = [ask('flood'), ask('flood'), ask('flood')]
  for (let turn = 0; turn < 12 && !order.includes('flood'); turn++) {
    const next = ask(`quiet ${turn}`)
    await Promise.race([next.hasTurn, flood[0]!.hasTurn])
    last.leave()
    last = next
  }
  expect(order).toContain('flood')
})

test('tenants take turns, and a newcomer comes before whoever was served last', async () => {
  const places = [ask('flood'), ask('flood'), ask('flood'), ask('flood'), ask('quiet')]
  expect(await serve(places)).toEqual(['flood', 'quiet', 'flood', 'flood', 'flood'])
})

test('newcomers, however many, keep nobody waiting who waits already', async () => {
  line = openLine({ places: 40, atOnce: 1 })
  const first = ask('first')
  const waiting = ask('waiting')
  const last = [ask('n1'), ask('n2')]
  first.leave()
  const late = [ask('n3'), ask('n4')]
  await serve([waiting, ...last, ...late])
  expect(order.indexOf('waiting')).toBeLessThan(order.indexOf('n3'))
})

describe('places', () => {
  test('all of them are open to one tenant, and one more is refused', () => {
    for (let i = 0; i < 5; i++) ask('a')
    expect(() => ask('a')).toThrow(/5 others are ahead and this would be number 6/)
  })

  test('a tenant with none gets one although the others took all, up to as many again', () => {
    for (let i = 0; i < 5; i++) ask('a')
    for (let i = 0; i < 5; i++) ask(`newcomer ${i}`)
    expect(() => ask('newcomer 5')).toThrow(/10 others are ahead/)
  })

  test('several tenants have the same number', () => {
    ask('b')
    for (let i = 0; i < 3; i++) ask('a')
    expect(() => ask('a')).toThrow(/busy/)
    ask('b')
  })

  test('a tenant below its share gets more, although another took all before it came', () => {
    for (let i = 0; i < 5; i++) ask('flood')
    for (let i = 0; i < 3; i++) ask('quiet')
    expect(() => ask('quiet')).toThrow(/8 others are ahead/)
    expect(() => ask('flood')).toThrow(/busy/)
  })

  test('asks the engine has from elsewhere take places as well', () => {
    for (let i = 0; i < 2; i++) ask('a', 3)
    expect(() => ask('a', 3)).toThrow(/busy/)
  })

  test('leaving gives the place back, once', async () => {
    const places = Array.from({ length: 5 }, () => ask('a'))
    await places[0]!.hasTurn
    places[0]!.leave()
    places[0]!.leave()
    expect([line.running, line.waiting]).toEqual([1, 3])
    ask('a')
    expect(() => ask('a')).toThrow(/busy/)
  })

  test('one who leaves before the turn comes is passed over', async () => {
    const [first, second, third] = [ask('a'), ask('a'), ask('a')]
    await first.hasTurn
    const unread = line.enter('a', 0)
    unread.leave()
    first.leave()
    await second.hasTurn
    second.leave()
    await third.hasTurn
    third.leave()
    expect([line.running, line.waiting]).toEqual([0, 0])
  })
})

test('waiting ends with the deadline and when the asker leaves, and the next is served', async () => {
  const first = ask('a')
  const late = line.enter('a', 0)
  await expect(late.turn(never(), 5)).rejects.toMatchObject({ code: 'deadline' })
  late.leave()
  const gone = new AbortController()
  const left = line.enter('a', 0)
  const turn = left.turn(gone.signal)
  gone.abort()
  await expect(turn).rejects.toMatchObject({ code: 'cancelled' })
  left.leave()
  const last = ask('a')
  first.leave()
  await last.hasTurn
  expect([line.running, line.waiting]).toEqual([1, 0])
})

test('how long to wait grows with those ahead, and is whole seconds from 1 to 60', () => {
  const alone = line.waitMs
  ask('a')
  ask('a')
  ask('a')
  expect(line.waitMs).toBe(3 * alone)
  expect([0, 1, 1000, 1001, 1e9].map(secondsOf)).toEqual([1, 1, 1, 2, 60])
})
