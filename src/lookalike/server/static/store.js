// The state that parts of the page share, and the answers on their way to the server.

/** A state of named values. Who subscribes is told once after what changes together. */
export class Store {
  /** @param {Record<string, any>} state */
  constructor(state) {
    this.state = state;
    /** @type {Set<(state: Record<string, any>) => void>} */
    this.listeners = new Set();
    this.isTelling = false;
  }

  /** @param {string} name */
  get(name) {
    return this.state[name];
  }

  /** @param {Record<string, any>} patch */
  set(patch) {
    if (Object.keys(patch).every((name) => Object.is(patch[name], this.state[name]))) return;
    this.state = { ...this.state, ...patch };
    if (this.isTelling) return;
    this.isTelling = true;
    queueMicrotask(() => {
      this.isTelling = false;
      for (const listener of [...this.listeners]) listener(this.state);
    });
  }

  /** Listen to changes; returns what ends that. @param {(state: Record<string, any>) => void} listener */
  subscribe(listener) {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }
}

/** Lets a Lit element follow a store: `new Follow(this, store)`. */
export class Follow {
  /** @param {import("./vendor/lit.js").LitElement} host @param {Store} store */
  constructor(host, store) {
    this.host = host;
    this.store = store;
    host.addController(this);
  }

  hostConnected() {
    this.end = this.store.subscribe(() => this.host.requestUpdate());
  }

  hostDisconnected() {
    this.end?.();
  }
}

/** Lets a Lit element hear events for as long as it is on the page: `new Hear(this, live, ["changed"], listener)`. */
export class Hear {
  /** @param {import("./vendor/lit.js").LitElement} host @param {EventTarget} target @param {string[]} names @param {(event: any) => unknown} listener */
  constructor(host, target, names, listener) {
    this.target = target;
    this.names = names;
    this.listener = listener;
    host.addController(this);
  }

  hostConnected() {
    for (const name of this.names) this.target.addEventListener(name, this.listener);
  }

  hostDisconnected() {
    for (const name of this.names) this.target.removeEventListener(name, this.listener);
  }
}

/**
 * One answer of a person: painted at once, sent in its turn, under an id by which it counts once.
 * `back` paints as it was before, where it is refused, and `show` goes there; `done` hears the server's
 * answer; `rest` returns the body that is left where somebody else has answered a part of it, or null.
 * @typedef {{id: string, path: string, body: any, what: string, back?: (failure: import("./api.js").Failure) => void, show?: () => void, done?: (answer: any) => void, rest?: (failure: import("./api.js").Failure, body: any) => any}} Answer
 */

const TRIES = 3;
const PAUSE_MS = 400;
const LONGEST_MS = 5000;
const KEPT = "answers";

/**
 * Sends answers in their order, one at a time. Without a connection they wait, and survive a reload.
 * What the server refuses is painted back, and told.
 */
export class Outbox extends EventTarget {
  /**
   * @param {(path: string, body: any) => Promise<any>} send
   * @param {{storage?: Pick<Storage, "getItem" | "setItem"> | null, pause?: (ms: number) => Promise<void>}} [how]
   */
  constructor(send, { storage = null, pause = (ms) => new Promise((done) => setTimeout(done, ms)) } = {}) {
    super();
    this.send = send;
    this.storage = storage;
    this.pause = pause;
    /** @type {Answer[]} */
    this.waiting = JSON.parse(storage?.getItem(KEPT) ?? "[]");
    this.isRunning = false;
    this.isCut = false;
  }

  /** @param {Answer} answer */
  add(answer) {
    this.waiting.push(answer);
    this.#keep();
    this.run();
  }

  /** Send what waits. */
  async run() {
    if (this.isRunning) return;
    this.isRunning = true;
    while (this.waiting.length) {
      await this.#deliver(this.waiting[0]);
      this.waiting.shift();
      this.#keep();
    }
    this.isRunning = false;
    this.dispatchEvent(new Event("idle"));
  }

  /** Wait until nothing is on its way. */
  async settled() {
    if (this.isRunning) await new Promise((done) => this.addEventListener("idle", done, { once: true }));
  }

  /** @param {Answer} answer */
  async #deliver(answer) {
    for (let tries = 1; ; tries += 1) {
      try {
        const told = await this.send(answer.path, { ...answer.body, op_id: answer.id });
        this.#cut(false);
        answer.done?.(told);
        this.dispatchEvent(new CustomEvent("done", { detail: { answer, told } }));
        return;
      } catch (error) {
        const failure = /** @type {import("./api.js").Failure} */ (error);
        const isCut = failure.status === 0;
        this.#cut(isCut);
        const rest = failure.status === 409 ? answer.rest?.(failure, answer.body) : null;
        if (rest) {
          answer.body = rest;
          continue;
        }
        if (!isCut && !(failure.mayPass && tries < TRIES)) {
          answer.back?.(failure);
          this.dispatchEvent(new CustomEvent("refused", { detail: { answer, failure } }));
          return;
        }
        await this.pause(Math.min(PAUSE_MS * 2 ** (tries - 1), LONGEST_MS));
      }
    }
  }

  /** @param {boolean} isCut */
  #cut(isCut) {
    if (isCut === this.isCut) return;
    this.isCut = isCut;
    this.dispatchEvent(new Event("cut"));
  }

  #keep() {
    const told = this.waiting.map(({ id, path, body, what }) => ({ id, path, body, what }));
    try {
      this.storage?.setItem(KEPT, JSON.stringify(told));
    } catch {
      this.storage?.setItem(KEPT, "[]"); // too large for what a browser keeps: it is sent, and not kept over a reload
    }
    this.dispatchEvent(new Event("change"));
  }
}
