// Work that must not overlap with other work of the same name is done one after another.

export type InTurn = <T>(names: readonly string[], work: () => Promise<T>) => Promise<T>

/** @example const inTurn = oneAtATime(); await inTurn(['thread 7', 'channel 2'], () => answer(question)) */
export function oneAtATime(): InTurn {
  const last = new Map<string, Promise<unknown>>()
  return (names, work) => {
    // Whoever came before under any of the names; nobody waits for somebody later, so nobody waits for ever.
    const mine = Promise.all(names.map((name) => last.get(name))).then(work)
    const ended = mine.then(
      () => {},
      () => {},
    )
    for (const name of names) last.set(name, ended)
    void ended.then(() => {
      for (const name of names) if (last.get(name) === ended) last.delete(name)
    })
    return mine
  }
}
