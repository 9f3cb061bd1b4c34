// A few things kept by name while they are used: the one that was not asked for longest goes first.

/** @template T */
export class Kept {
  /** @param {number} most @param {(value: T) => void} [drop] hears what is kept no more */
  constructor(most, drop = () => {}) {
    this.most = most;
    this.drop = drop;
    /** @type {Map<string, {made: Promise<T>, value?: T}>} */
    this.all = new Map();
  }

  /** Return what has a name, made if it is not there; what could not be made is not kept. @param {string} name @param {() => Promise<T>} make @returns {Promise<T>} */
  once(name, make) {
    const known = this.all.get(name) ?? this.#made(name, make);
    this.all.delete(name);
    this.all.set(name, known);
    return known.made;
  }

  /** @param {string} name @param {() => Promise<T>} make */
  #made(name, make) {
    const one = /** @type {{made: Promise<T>, value?: T}} */ ({ made: make() });
    one.made.then((value) => {
      one.value = value;
      this.all.delete(name); // who waits for it has it in a moment, so it is the newest
      this.all.set(name, one);
      this.#trim();
    }, () => this.all.delete(name));
    return one;
  }

  /** Let the oldest go; what is still on its way stays. */
  #trim() {
    for (const [name, { value }] of this.all) {
      if (this.all.size <= this.most) return;
      if (value === undefined) continue;
      this.all.delete(name);
      this.drop(value);
    }
  }
}
