// "Are these all the labels?": asked once, of a field with few labels, when answers bring no new one any more.

const MOST = 12;
const FEWEST = 2;
const SETTLED = 4;

/** When that is asked, by the `place` of a field: its namespace, collection and name. What was asked is kept in `storage`. */
export class Closing {
  /** @param {Storage | Map<string, string>} storage */
  constructor(storage) {
    this.storage = storage;
    /** How many answers in a row named no new label. @type {Map<string, number>} */
    this.repeated = new Map();
  }

  /** Note that labels were given; a sheet without a new one is enough by itself. @param {string} place @param {string[]} labels @param {{known: string[], isSheet?: boolean}} how */
  note(place, labels, { known, isSheet = false }) {
    const isNew = labels.some((one) => !known.includes(one));
    this.repeated.set(place, isNew ? 0 : (this.repeated.get(place) ?? 0) + (isSheet ? SETTLED : 1));
  }

  /** Whether to ask of a field with labels that are known and a set that is closed, open, or unknown. @param {string} place @param {{known: string[], isClosed: boolean | undefined}} how */
  isDue(place, { known, isClosed }) {
    const isSettled = (this.repeated.get(place) ?? 0) >= SETTLED;
    return isClosed === false && isSettled && known.length >= FEWEST && known.length <= MOST && !this.#wasAsked(place);
  }

  /** Ask no more. @param {string} place */
  end(place) {
    const { storage } = this;
    if (storage instanceof Map) storage.set(keyOf(place), "1");
    else storage.setItem(keyOf(place), "1");
  }

  /** @param {string} place */
  #wasAsked(place) {
    const { storage } = this;
    return Boolean(storage instanceof Map ? storage.get(keyOf(place)) : storage.getItem(keyOf(place)));
  }
}

/** @param {string} place */
function keyOf(place) {
  return `asked-all/${place}`;
}
