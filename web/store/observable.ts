import { useEffect, useState } from 'preact/hooks';

/** State that the page is drawn from, and that tells its listeners of each change. */
export interface Observable<State> {
  get: () => State;
  /** @returns a function that ends the listening. */
  listen: (listener: () => void) => () => void;
}

export interface MutableObservable<State> extends Observable<State> {
  set: (change: Partial<State>) => void;
}

export function createObservable<State extends object>(initial: State): MutableObservable<State> {
  let state = initial;
  const listeners = new Set<() => void>();
  return {
    get: () => state,
    set: (change) => {
      state = { ...state, ...change };
      for (const listener of listeners) listener();
    },
    listen: (listener) => {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
  };
}

/** Draws a component again whenever `observable` changes. */
export function useObserved<State>({ get, listen }: Observable<State>): State {
  const [state, setState] = useState<State>(get);
  useEffect(() => {
    // A change between drawing and listening would be missed.
    setState(get);
    return listen(() => setState(get));
  }, [get, listen]);
  return state;
}
