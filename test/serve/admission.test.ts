import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { type AdmissionController, createAdmission, type Slot, secondsOf } from '../../src/serve/admission.ts'

const never = () => new AbortController().signal
let admission: AdmissionController
let order: string[]

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['performance', 'setTimeout', 'clearTimeout', 'setInterval', 'setImmediate'] })
  admission = createAdmission({ queueCapacity: 4, concurrency: 1 })
  order = []
})

afterEach(() => {
  vi.useRealTimers()
})

/** Admits a request, which then waits to be started. The caller releases its slot. */
function ask(tenant: string, others = 0): Slot & { started: Promise<number> } {
  const slot = admission.admit(tenant, others)
  const started = slot.acquire(never())
  started.then(
    () => order.push(tenant),
    () => {},
  )
  return { ...slot, started }
}

/** Releases each slot as its request is started. */
async function serve(slots: ReturnType<typeof ask>[]): Promise<string[]> {
  await Promise.all(slots.map(({ started, release }) => started.then(release)))
  return order
}

const counts = () => [admission.running(), admission.waiting()]

describe('turns', () => {
  test('a tenant that is alone has as many requests at the engine as it takes, in order of arrival', async () => {
    admission = createAdmission({ queueCapacity: 4, concurrency: 2 })
    const [a, b, c] = [ask('a'), ask('a'), ask('a')]
    await Promise.all([a.started, b.started])
    expect(counts()).toEqual([2, 1])
    a.release()
    await c.started
    expect(counts()).toEqual([2, 0])
  })

  test('the least recently served tenant goes first, and a new one before the one served last', async () => {
    const slots = [ask('flood'), ask('flood'), ask('flood'), ask('flood'), ask('quiet')]
    expect(await serve(slots)).toEqual(['flood', 'quiet', 'flood', 'flood', 'flood'])
  })

  test('new tenants, however many, do not delay those that wait already', async () => {
    admission = createAdmission({ queueCapacity: 40, concurrency: 1 })
    const first = ask('first')
    const waiting = ask('waiting')
    const last = [ask('n1'), ask('n2')]
    first.release()
    const late = [ask('n3'), ask('n4')]
    await serve([waiting, ...last, ...late])
    expect(order).toEqual(['first', 'waiting', 'n1', 'n2', 'n3', 'n4'])
  })

  test('while several tenants are active each has one request at the engine, and does not join those before it', async () => {
    admission = createAdmission({ queueCapacity: 8, concurrency: 4 })
    const quiet = ask('quiet')
    await quiet.started
    quiet.release()
    const flood = [ask('flood'), ask('flood'), ask('flood')]
    await flood[0]!.started
    expect(counts()).toEqual([1, 2])
    const again = ask('quiet')
    await again.started
    expect(counts()).toEqual([2, 2])
    // The quiet tenant's request runs alone: a batch of two would take longer.
    flood[0]!.release()
    expect(counts()).toEqual([1, 2])
    again.release()
    await flood[1]!.started
    expect(counts()).toEqual([1, 1])
  })

  test('a tenant that others have left has the engine to itself again', async () => {
    admission = createAdmission({ queueCapacity: 8, concurrency: 4 })
    await serve([ask('quiet')])
    const flood = [1, 2, 3, 4].map(() => ask('flood'))
    expect(counts()).toEqual([1, 3])
    vi.advanceTimersByTime(10_000)
    flood[0]!.release()
    expect(counts()).toEqual([3, 0])
  })

  test.each([1, 2])(
    'a tenant that floods gets its turn while new tenants keep arriving, %i at the engine',
    async (concurrency) => {
      admission = createAdmission({ queueCapacity: 40, concurrency })
      const atEngine: Slot[] = []
      const enter = (tenant: string) => {
        const slot = ask(tenant)
        void slot.started.then(() => atEngine.push(slot))
      }
      for (const tenant of ['first', 'flood', 'flood', 'flood']) enter(tenant)
      for (let turn = 0; turn < 12; turn++) {
        enter(`newcomer ${turn}`)
        await vi.advanceTimersByTimeAsync(0)
        atEngine.shift()?.release()
      }
      expect(order.filter((tenant) => tenant === 'flood')).toHaveLength(3)
    },
  )

  /** One request takes 100 ms, each further one of a batch 62 ms: bench/stub.ts. */
  function batches(size: number): () => Promise<void> {
    const waiting: (() => void)[] = []
    let isRunning = false
    const startNext = () => {
      if (isRunning || waiting.length === 0) return
      const batch = waiting.splice(0, size)
      isRunning = true
      setTimeout(
        () => {
          isRunning = false
          for (const end of batch) end()
          setImmediate(startNext)
        },
        100 + 62 * (batch.length - 1),
      )
    }
    return () =>
      new Promise((resolve) => {
        waiting.push(resolve)
        setImmediate(startNext)
      })
  }

  // The row fairness of bench/load.ts, in virtual time.
  test.each([1, 2, 8])(
    'beside a flood a quiet caller is never refused and waits for one request, batches of %i',
    async (concurrency) => {
      admission = createAdmission({ queueCapacity: 8, concurrency })
      const answer = batches(concurrency)
      const request = async (tenant: string) => {
        const { acquire, release } = admission.admit(tenant, 0)
        const begun = performance.now()
        await acquire(never()).then(answer).finally(release)
        return performance.now() - begun
      }
      const quiet: Promise<number>[] = []
      let refused = 0
      setInterval(() => request('flood').catch(() => refused++), 10)
      // Each time at another moment of the flood's request.
      const quietly = setInterval(() => quiet.push(request('quiet')), 1013)
      await vi.advanceTimersByTimeAsync(40 * 1013)
      clearInterval(quietly)
      await vi.advanceTimersByTimeAsync(1_000)
      expect(refused).toBeGreaterThan(2_000)
      // The first came before the tenants counted as active.
      const [, ...later] = await Promise.all(quiet)
      expect(later.length).toBeGreaterThan(30)
      // 100 ms for each, and a few for ticks of the timers.
      expect(Math.max(...later)).toBeLessThan(205)
    },
  )
})

describe('capacity', () => {
  test('is open to one tenant, and one more request is refused', () => {
    for (let i = 0; i < 5; i++) ask('a')
    expect(() => ask('a')).toThrow(/5 requests are ahead and this would be number 6/)
  })

  test('is exceeded by tenants without a slot, up to twice in all', () => {
    for (let i = 0; i < 5; i++) ask('a')
    for (let i = 0; i < 5; i++) ask(`newcomer ${i}`)
    expect(() => ask('newcomer 0')).toThrow(/10 requests are ahead/)
    expect(() => ask('newcomer 5')).toThrow(/10 requests are ahead/)
  })

  test('is used by requests of other sources at the engine as well', () => {
    for (let i = 0; i < 2; i++) ask('a', 3)
    expect(() => ask('a', 3)).toThrow(/busy/)
  })

  test('is freed by a release, once', async () => {
    const slots = Array.from({ length: 5 }, () => ask('a'))
    await slots[0]!.started
    slots[0]!.release()
    slots[0]!.release()
    expect(counts()).toEqual([1, 3])
    ask('a')
    expect(() => ask('a')).toThrow(/busy/)
  })

  test('is freed by a request that never waits for its turn', async () => {
    const [first, second, third] = [ask('a'), ask('a'), ask('a')]
    await first.started
    admission.admit('a', 0).release()
    first.release()
    await second.started
    second.release()
    await third.started
    third.release()
    expect(counts()).toEqual([0, 0])
  })
})

test('waiting ends with the deadline and when the client disconnects, and the next request is served', async () => {
  const first = ask('a')
  const late = admission.admit('a', 0)
  const tooLate = expect(late.acquire(never(), 5)).rejects.toMatchObject({ code: 'deadline' })
  await vi.advanceTimersByTimeAsync(5)
  await tooLate
  late.release()
  const gone = new AbortController()
  const left = admission.admit('a', 0)
  const turn = left.acquire(gone.signal)
  gone.abort()
  await expect(turn).rejects.toMatchObject({ code: 'cancelled' })
  left.release()
  const last = ask('a')
  first.release()
  await last.started
  expect(counts()).toEqual([1, 0])
})

test('how long to wait is the time of an answer for each request ahead, in whole seconds from 1 to 60', async () => {
  const first = ask('a')
  await first.started
  vi.advanceTimersByTime(400)
  first.release()
  for (let i = 0; i < 5; i++) ask('a')
  expect(admission.waitMs()).toBe(5 * 400)
  expect(() => ask('a')).toThrow(/Try again in 2 s/)
  expect([0, 1, 1000, 1001, 1e9].map(secondsOf)).toEqual([1, 1, 1, 2, 60])
})
