// What is asked, strip by strip. What is on screen stays as it is; what comes after is asked anew
// when answers have taught something.

const AT_ONCE = 12;
const AHEAD = 6;
const STAYS = 2;

/**
 * One question: `out` are the documents that were X-ed out, `state` "open", "said" or "skipped",
 * `said` what was answered, `operation` under which it is undone.
 * @typedef {{key: string, documents: any[], suggestion: string | null, worth: number, kind: string, place: string, opinions: any[],
 *   out: Set<string>, at: number, state: string, said: string, operation: string}} Strip
 */

/** The questions of one tab, from frozen snapshots of the queue. Tells `change`. */
export class Queue extends EventTarget {
  /** @param {(asked: {snapshot?: string, offset?: number, limit: number}) => Promise<any>} ask */
  constructor(ask) {
    super();
    this.ask = ask;
    /** @type {Strip[]} */
    this.strips = [];
    this.at = 0;
    this.snapshot = "";
    /** @type {number | null} */
    this.next = 0;
    /** @type {Record<string, number>} */
    this.kinds = {};
    this.isAsking = false;
    this.isKnown = false;
    this.trouble = "";
  }

  /** @returns {Strip | undefined} */
  get strip() {
    return this.strips[this.at];
  }

  /** Whether all that was asked is answered. */
  get isOver() {
    return this.isKnown && !this.strip && this.next === null;
  }

  /** Ask for what comes next, where it will soon be needed. */
  async fill() {
    if (this.isAsking || this.strips.length - this.at > AHEAD || (this.next === null && this.isKnown)) return;
    await this.#take(this.snapshot, this.next ?? 0);
  }

  /** Ask anew, after answers: what is on screen stays, the rest gives way. */
  async renew() {
    if (this.isAsking) return;
    await this.#take("", 0);
  }

  /** @param {string} snapshot @param {number} offset */
  async #take(snapshot, offset) {
    this.isAsking = true;
    try {
      const told = await this.ask({ snapshot: snapshot || undefined, offset, limit: AT_ONCE });
      if (!snapshot) this.strips = this.strips.slice(0, this.at + 1 + STAYS);
      this.snapshot = told.snapshot;
      this.next = told.next_offset;
      this.kinds = told.kinds ?? {};
      const shown = new Set(this.strips.flatMap((one) => one.documents.map((doc) => doc.document_id)));
      const fresh = told.results.filter((/** @type {any} */ one) => !one.documents.some((/** @type {any} */ doc) => shown.has(doc.document_id)));
      this.strips = [...this.strips, ...fresh.map(stripOf)];
      this.isKnown = true;
      this.trouble = "";
    } catch (error) {
      this.trouble = /** @type {Error} */ (error).message;
    } finally {
      this.isAsking = false;
      this.#tell();
    }
    if (this.strips.length - this.at <= 1 && this.next !== null && !this.trouble) await this.fill();
  }

  /** Go to another strip. @param {number} by */
  move(by) {
    this.at = Math.max(0, Math.min(this.at + by, this.strips.length));
    this.#tell();
    this.fill();
  }

  /** Go to the next strip that is open. */
  advance() {
    const next = this.strips.findIndex((one, place) => place > this.at && one.state === "open");
    this.at = next < 0 ? this.strips.length : next;
    this.#tell();
    this.fill();
  }

  /** Open a strip again, and go there. @param {Strip | undefined} strip */
  reopen(strip) {
    const place = strip ? this.strips.indexOf(strip) : -1;
    if (place < 0 || !strip) return;
    Object.assign(strip, { state: "open", said: "", operation: "" });
    this.at = Math.min(place, this.at);
    this.#tell();
  }

  /** Take in how documents stand now, by id. @param {Map<string, any>} changed @param {string} field */
  merge(changed, field) {
    const own = new Set();
    for (const strip of this.strips) {
      strip.documents = strip.documents.map((doc) => {
        const now = changed.get(doc.document_id);
        const standing = doc.labels[field];
        if (!now || !standing || now.revision <= standing.revision) return doc;
        own.add(doc.document_id);
        const { label, origin, revision } = now;
        return { ...doc, labels: { ...doc.labels, [field]: { ...standing, label, origin, revision } } };
      });
    }
    if (own.size) this.#tell();
    return own;
  }

  #tell() {
    this.dispatchEvent(new Event("change"));
  }
}

/** @param {any} question @returns {Strip} */
function stripOf(question) {
  return { ...question, key: question.documents[0].document_id, out: new Set(), at: 0, state: "open", said: "", operation: "" };
}

/** Return the documents of a strip that an answer is about. @param {Strip} strip */
export function meant(strip) {
  return strip.documents.filter((doc) => !strip.out.has(doc.document_id));
}
