/** The fingerprints of all visited states, and for each the parent state and the move that first led to it. */

const FIRST_CAPACITY = 2 ** 16;

export class VisitedStates {
  #size = 0;
  /** A hash table with open addressing: 1 + the state's id, 0 for a free place. */
  #places = new Int32Array(FIRST_CAPACITY * 2);
  #a = new Uint32Array(FIRST_CAPACITY);
  #b = new Uint32Array(FIRST_CAPACITY);
  #parents = new Int32Array(FIRST_CAPACITY);
  #moves = new Uint16Array(FIRST_CAPACITY);

  get size(): number {
    return this.#size;
  }

  /** Adds a state and returns its id; undefined if it was visited before. */
  add(a: number, b: number, parent: number, move: number): number | undefined {
    const mask = this.#places.length - 1;
    let place = (a ^ Math.imul(b, 0x9e37_79b1)) & mask;
    for (;;) {
      const taken = this.#places[place]!;
      if (taken === 0) break;
      if (this.#a[taken - 1] === a && this.#b[taken - 1] === b) return undefined;
      place = (place + 1) & mask;
    }
    if (this.#size === this.#a.length) {
      this.#grow();
      return this.add(a, b, parent, move);
    }
    const id = this.#size++;
    this.#places[place] = id + 1;
    this.#a[id] = a;
    this.#b[id] = b;
    this.#parents[id] = parent;
    this.#moves[id] = move;
    return id;
  }

  /** Returns the moves from the first state to this one. */
  path(id: number): number[] {
    const moves: number[] = [];
    for (let at = id; at > 0; at = this.#parents[at]!) moves.push(this.#moves[at]!);
    return moves.toReversed();
  }

  #grow(): void {
    const capacity = this.#a.length * 2;
    const larger = <List extends Uint32Array | Int32Array | Uint16Array>(
      list: List,
      Type: new (length: number) => List,
    ): List => {
      const copy = new Type(capacity);
      copy.set(list);
      return copy;
    };
    this.#a = larger(this.#a, Uint32Array);
    this.#b = larger(this.#b, Uint32Array);
    this.#parents = larger(this.#parents, Int32Array);
    this.#moves = larger(this.#moves, Uint16Array);
    this.#places = new Int32Array(capacity * 2);
    const mask = this.#places.length - 1;
    for (let id = 0; id < this.#size; id++) {
      let place = (this.#a[id]! ^ Math.imul(this.#b[id]!, 0x9e37_79b1)) & mask;
      while (this.#places[place] !== 0) place = (place + 1) & mask;
      this.#places[place] = id + 1;
    }
  }
}
