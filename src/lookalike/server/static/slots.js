// The label slots 1–9: a label keeps the number that it got, so that fingers can learn it.

const SLOTS = 9;

/** Slots of one field of one collection, kept under `name` in `storage`. */
export class Slots {
  /** @param {string} name @param {Storage | Map<string, string>} storage */
  constructor(name, storage) {
    this.name = `slots/${name}`;
    this.storage = storage;
    /** @type {(string | null)[]} */
    this.labels = read(storage, this.name);
    /** @type {string | null} */
    this.last = null;
  }

  /** Return the label of a digit, or null. @param {number} digit */
  at(digit) {
    return this.labels[digit - 1] ?? null;
  }

  /** Return the digit of a label, or 0. @param {string} label */
  of(label) {
    return this.labels.indexOf(label) + 1;
  }

  /** Note that a label was used: the first free slot becomes its own. @param {string} label */
  use(label) {
    this.last = label;
    if (this.of(label)) return;
    const free = this.labels.indexOf(null);
    if (free >= 0) this.pin(free + 1, label);
  }

  /** Where no slot is taken yet, let the labels have them that are there, in their order. @param {string[]} labels */
  offer(labels) {
    if (this.labels.some((one) => one !== null)) return;
    labels.slice(0, SLOTS).forEach((label, place) => this.pin(place + 1, label));
  }

  /** Give a slot to a label; another slot that it had becomes free. @param {number} digit @param {string | null} label */
  pin(digit, label) {
    const own = label === null ? 0 : this.of(label);
    if (own) this.labels[own - 1] = null;
    this.labels[digit - 1] = label;
    write(this.storage, this.name, JSON.stringify(this.labels));
  }
}

/** @param {Storage | Map<string, string>} storage @param {string} name @returns {(string | null)[]} */
function read(storage, name) {
  const text = storage instanceof Map ? storage.get(name) : storage.getItem(name);
  const empty = Array(SLOTS).fill(null);
  try {
    const found = JSON.parse(text ?? "[]");
    return empty.map((_, place) => (typeof found[place] === "string" ? found[place] : null));
  } catch {
    return empty;
  }
}

/** @param {Storage | Map<string, string>} storage @param {string} name @param {string} text */
function write(storage, name, text) {
  if (storage instanceof Map) storage.set(name, text);
  else storage.setItem(name, text);
}
