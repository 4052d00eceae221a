// Work that must not overlap with other work of the same name is done one after another.

export type InTurn = <T>(name: string, work: () => Promise<T>) => Promise<T>

/** @example const inTurn = oneAtATime(); await inTurn('thread 7', () => answer(question)) */
export function oneAtATime(): InTurn {
  const last = new Map<string, Promise<void>>()
  return (name, work) => {
    const mine = (last.get(name) ?? Promise.resolve()).then(work)
    const ended = mine.then(
      () => {},
      () => {},
    )
    last.set(name, ended)
    void ended.then(() => {
      if (last.get(name) === ended) last.delete(name)
    })
    return mine
  }
}
