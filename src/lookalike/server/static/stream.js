// Documents asked about one after the other. The latest answer is held back, so that a slip of the finger
// can be taken back; those that gather while others are on their way go together.

const HELD_MS = 4000;

/**
 * @typedef {import("./question.js").Said} Said
 * @typedef {{doc: any, said: Said}} Answer
 * @typedef {(answers: Answer[], settled: (isRecorded: boolean) => void) => void} Send
 */

export class Stream {
  /** @param {Send} send records answers, and tells when that is settled; what was refused is asked again @param {() => void} changed @param {number} [heldMs] */
  constructor(send, changed, heldMs = HELD_MS) {
    this.send = send;
    this.changed = changed;
    this.heldMs = heldMs;
    /** @type {any[]} what is still to be asked, the next one first */
    this.queue = [];
    /** @type {Set<string>} */
    this.answered = new Set();
    /** @type {(Answer & {timer: any}) | null} */
    this.held = null;
    /** @type {Answer[]} */
    this.unsent = [];
    this.isSending = false;
  }

  clear() {
    this.flush(true);
    this.queue = [];
    this.answered = new Set();
  }

  /** Take what the server says is waiting, without what was answered here meanwhile. @param {any[]} docs */
  fill(docs) {
    const known = new Map(docs.map((one) => [one.document_id, one]));
    const asked = this.queue.map((one) => known.get(one.document_id)).filter(Boolean);
    const fresh = docs.filter((one) => !this.answered.has(one.document_id) && !asked.includes(one));
    this.queue = [...asked, ...fresh];
    this.changed();
  }

  /** @param {Said} said */
  say(said) {
    const doc = this.queue.shift();
    if (!doc) return;
    this.flush();
    this.answered.add(doc.document_id);
    this.held = { doc, said, timer: setTimeout(() => this.flush(), this.heldMs) };
    this.changed();
  }

  later() {
    this.queue.push(...this.queue.splice(0, 1));
    this.changed();
  }

  /** Record what is held; `now` waits for nothing. */
  flush(now = false) {
    if (this.held) {
      const { doc, said, timer } = this.held;
      clearTimeout(timer);
      this.held = null;
      this.unsent.push({ doc, said });
      this.changed();
    }
    if (this.unsent.length && (now || !this.isSending)) this.#deliver(this.unsent.splice(0));
  }

  /** @param {Answer[]} answers */
  #deliver(answers) {
    this.isSending = true;
    this.send(answers, (isRecorded) => {
      this.isSending = false;
      const place = this.queue.length ? 1 : 0; // what is shown stays
      if (!isRecorded) answers.reverse().forEach((one) => this.#again(one.doc, place));
      if (this.unsent.length) this.#deliver(this.unsent.splice(0));
    });
  }

  /** Ask again what is held; tells whether there was something. */
  takeBack() {
    if (!this.held) return false;
    clearTimeout(this.held.timer);
    const { doc } = this.held;
    this.held = null;
    this.#again(doc, 0);
    return true;
  }

  /** Ask again. @param {any} doc @param {number} place in the queue */
  #again(doc, place) {
    this.answered.delete(doc.document_id);
    this.queue.splice(place, 0, doc);
    this.changed();
  }
}
