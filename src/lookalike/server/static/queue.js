// What is asked, strip by strip. What is on screen stays as it is; what comes after is asked anew
// when answers have taught something, or when the questions run out.

import { arranged, isSheet } from "./sheets.js";

const AT_ONCE = 12;
const AHEAD = 6;
const STAYS = 2;
const RENEW_AFTER = 4;

/**
 * One question: `out` are the documents that were X-ed out, on a sheet `marks` tell what each is instead, `state` "open", "said", "skipped" or
 * "gone" (somebody else answered), `said` what was answered, `operation` under which it is undone, "" until the server has it.
 * @typedef {{key: string, documents: any[], suggestion: string | null, suggestions: (string | null)[], worth: number, kind: string, place: string, opinions: any[],
 *   out: Set<string>, marks: Map<string, import("./sheets.js").Mark>, at: number, state: string, said: string, operation: string}} Strip
 */

/** The questions of one tab, from frozen snapshots of the queue. Tells `change`. */
export class Queue extends EventTarget {
  /** @param {(asked: {snapshot?: string, offset?: number, limit: number}) => Promise<any>} ask @param {{isFixed?: boolean, early?: number}} [how] `isFixed`: what is asked is a list, which is never asked anew; of the first answers, `early`, each teaches much: it is asked anew after each */
  constructor(ask, { isFixed = false, early = 0 } = {}) {
    super();
    this.ask = ask;
    this.isFixed = isFixed;
    this.early = early;
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
    this.answered = 0;
    /** Whether it shall be asked anew at once, and whether it may once nothing is left. */
    this.isWanted = false;
    this.isStale = false;
    /** Which strips the server had answers to when the snapshot was frozen. @type {Set<Strip>} */
    this.settled = new Set();
    /** Documents that were X-ed out: asked about again when nothing else is left. @type {Set<string>} */
    this.passed = new Set();
    this.made = 0;
  }

  /** @returns {Strip | undefined} */
  get strip() {
    return this.strips[this.at];
  }

  /** Whether answers are on their way to the server. */
  get isSending() {
    return this.strips.some((one) => one.state === "said" && !one.operation);
  }

  /** Whether nothing is left to be asked, and nothing on its way that could change that. */
  get isOver() {
    return this.isKnown && !this.strip && this.next === null && !this.isAsking && !this.isSending;
  }

  /** How many questions were skipped: they are asked again only in a new queue. */
  get skipped() {
    return this.strips.filter((one) => one.state === "skipped").length;
  }

  /** Ask for what comes next, where it will soon be needed. */
  async fill() {
    if (this.isAsking) return;
    this.isAsking = true;
    this.trouble = "";
    for (let asked = this.#wish(); asked && !this.trouble; asked = this.#wish()) await this.#take(asked);
    this.isAsking = false;
    this.#tell();
  }

  /** Ask anew: what is on screen stays, the rest gives way. */
  async renew() {
    this.isWanted = !this.isFixed;
    await this.fill();
  }

  /** Return what to ask for now, if anything; where nothing is left, go back to what is open. @returns {{snapshot: string, offset: number} | null} */
  #wish() {
    const anew = { snapshot: "", offset: 0 };
    if (this.isWanted || !this.isKnown) return anew;
    if (this.strips.length - this.at > AHEAD) return null;
    if (this.next !== null) return { snapshot: this.snapshot, offset: this.next };
    if (this.strip || this.isFixed) return null;
    const open = this.strips.findIndex((one) => one.state === "open");
    if (open >= 0) {
      this.at = open;
      return null;
    }
    if (this.isSending || (!this.isStale && !this.passed.size)) return null;
    if (!this.isStale) this.passed.clear();
    return anew;
  }

  /** @param {{snapshot: string, offset: number}} asked */
  async #take({ snapshot, offset }) {
    const settled = snapshot ? this.settled : new Set(this.strips.filter((one) => one.operation));
    if (!snapshot) Object.assign(this, { isWanted: false, isStale: false });
    try {
      const told = await this.ask({ snapshot: snapshot || undefined, offset, limit: AT_ONCE });
      const stays = this.answered && this.answered <= this.early ? 1 : STAYS;
      if (!snapshot) this.strips = this.strips.filter((one, place) => place <= this.at + stays || one.state !== "open");
      Object.assign(this, { settled, snapshot: told.snapshot, next: told.next_offset ?? null, kinds: told.kinds ?? {}, isKnown: true });
      this.#add(told.results);
    } catch (error) {
      const { message, status } = /** @type {import("./api.js").Failure} */ (error);
      if (status === 404 && snapshot) this.isWanted = true; // the server keeps that snapshot no more
      else this.trouble = message;
    }
    this.#tell();
  }

  /**
   * Take in questions, without what is asked here already, was skipped or passed over, or has its answer on the way. A check is a random sample,
   * which counts only when all of it is answered: what was passed over elsewhere stays on it, and only who skipped the check itself is not asked again.
   * @param {any[]} questions
   */
  #add(questions) {
    const [asked, left, skipped] = [new Set(), new Set(this.passed), new Set()];
    for (const one of this.strips) {
      if (one.state === "said" && this.settled.has(one)) continue;
      const isCheck = one.kind === "check";
      const into = one.state === "skipped" ? (isCheck ? skipped : left) : asked;
      for (const doc of one.state === "said" ? meant(one) : one.documents) into.add(doc.document_id);
    }
    for (const question of questions) {
      const { documents: all, suggestions: labels = [], kind } = question;
      const ids = all.map((/** @type {any} */ doc) => doc.document_id);
      const isCheck = kind === "check";
      if (isCheck && ids.every((/** @type {string} */ id) => skipped.has(id))) continue;
      const open = [...ids.keys()].filter((place) => !asked.has(ids[place]) && (isCheck || !(left.has(ids[place]) || skipped.has(ids[place]))));
      const [documents, suggestions] = [open.map((place) => all[place]), open.map((place) => labels[place] ?? null)];
      if (documents.length) this.strips = [...this.strips, this.#stripOf({ ...question, documents, suggestions })];
    }
  }

  /** @param {any} asked @returns {Strip} */
  #stripOf(asked) {
    this.made += 1;
    const question = isSheet(asked) ? arranged(asked) : asked;
    return { ...question, key: `${question.documents[0].document_id}/${this.made}`, out: new Set(), marks: new Map(), at: 0, state: "open", said: "", operation: "" };
  }

  /** Go to another strip. @param {number} by */
  move(by) {
    this.at = Math.max(0, Math.min(this.at + by, this.strips.length));
    this.#tell();
    this.fill();
  }

  /** Close a strip with what was answered, and go on. @param {Strip} strip @param {string} said */
  say(strip, said) {
    Object.assign(strip, { state: "said", said });
    strip.out.forEach((id) => this.passed.add(id));
    this.#advance();
  }

  /** Leave a strip, and go on. @param {Strip} strip */
  skip(strip) {
    Object.assign(strip, { state: "skipped", said: "Skipped" });
    this.#advance();
  }

  /** Note that the server has an answer: after a sheet, and now and then, it is asked anew, so that what was taught shows. @param {Strip} strip @param {string} operation */
  settle(strip, operation) {
    strip.operation = operation;
    this.answered += 1;
    this.isStale = true;
    if (this.answered <= this.early || isSheet(strip) || this.answered % RENEW_AFTER === 0) this.isWanted = !this.isFixed;
    this.fill();
  }

  /** Note that an answer was refused: where one is stays, and the strip is open again, or has its answer by somebody else. @param {Strip} strip @param {string} [said] */
  refuse(strip, said = "") {
    Object.assign(strip, { state: said ? "gone" : "open", said: said || "Not recorded", operation: "" });
    this.#tell();
    this.fill();
  }

  /** Open a strip again, and go there. @param {Strip | undefined} strip */
  reopen(strip) {
    if (!strip || !this.strips.includes(strip)) return;
    Object.assign(strip, { state: "open", said: "", operation: "" });
    strip.out.forEach((id) => this.passed.delete(id));
    this.at = Math.min(this.strips.indexOf(strip), this.at);
    this.#tell();
  }

  /** Go to the next strip that is open. */
  #advance() {
    const next = this.strips.findIndex((one, place) => place > this.at && one.state === "open");
    this.at = next < 0 ? this.strips.length : next;
    this.#tell();
    this.fill();
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

/** Return the documents of a strip that an answer is about. @param {Strip} strip */
export function meant(strip) {
  return strip.documents.filter((doc) => !strip.out.has(doc.document_id));
}
