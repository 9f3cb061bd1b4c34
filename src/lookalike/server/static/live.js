// What happens elsewhere, as it happens. One tab listens to the server and tells the others: a
// stream a tab would use up the six connections that a browser makes to one server.

const POLL_MS = 2000;
const BEHIND_MS = 5000;
const RETRY_MS = 1000;
const MOST = 5000;

/**
 * Events: `changed` with {documents, operations} of all collections, once a frame; `refetch` when
 * too much was missed to tell it; `state` when `state` ("live", "asking" or "lost") is another.
 */
export class Live extends EventTarget {
  /** @param {import("./api.js").Api} api */
  constructor(api) {
    super();
    this.api = api;
    this.state = "asking";
    this.revision = 0;
    this.isReading = false;
    this.isStale = false;
    this.stop = new AbortController();
  }

  /** Begin, from a revision on; whatever ran before ends. @param {number} revision */
  start(revision) {
    this.stop.abort();
    this.stop = new AbortController();
    this.revision = revision;
    const name = `lookalike/${this.api.namespace}`;
    this.channel?.close();
    this.channel = new BroadcastChannel(name);
    this.channel.onmessage = (event) => this.#heard(event.data);
    if (navigator.locks) {
      navigator.locks
        .request(name, { signal: this.stop.signal }, () => this.#lead(this.stop.signal))
        .catch(() => {});
      this.#poll(this.stop.signal);
    } else {
      this.#poll(this.stop.signal);
    }
  }

  /** Read what has changed since; called after own answers as well, so nobody waits for the stream. */
  async catchUp() {
    this.isStale = true;
    if (this.isReading) return;
    this.isReading = true;
    try {
      while (this.isStale) {
        this.isStale = false;
        await this.#read();
      }
      if (this.state === "lost") this.#be("asking");
    } catch {
      this.#be("lost");
    } finally {
      this.isReading = false;
    }
  }

  async #read() {
    const from = this.revision;
    const told = await this.api.get("/changes", { since: from, limit: MOST });
    if (from !== this.revision) return;
    this.revision = Math.max(told.revision, from);
    if (told.more) {
      this.revision = (await this.api.get("/changes", { since: 2 ** 52 })).revision || this.revision;
      this.dispatchEvent(new Event("refetch"));
    } else if (told.operations.length || told.documents.length) {
      await frame();
      this.dispatchEvent(new CustomEvent("changed", { detail: told }));
    }
  }

  /** @param {any} message */
  #heard(message) {
    this.#be(message.state);
    this.heardAt = performance.now();
    if (message.revision > this.revision) this.catchUp();
  }

  /** Ask now and then, for as long as nobody tells. @param {AbortSignal} signal */
  async #poll(signal) {
    while (!signal.aborted) {
      const quiet = performance.now() - (this.heardAt ?? -POLL_MS * 20);
      if (!this.isLeading && quiet > POLL_MS * 10) await this.catchUp();
      await pause(POLL_MS, signal);
    }
  }

  /** Listen to the server's stream and tell the other tabs. @param {AbortSignal} signal */
  async #lead(signal) {
    this.isLeading = true;
    while (!signal.aborted) {
      try {
        await this.#listen(signal);
      } catch {
        if (!signal.aborted) this.#be("lost");
      }
      this.channel?.postMessage({ state: this.state, revision: this.revision });
      await pause(RETRY_MS, signal);
    }
    this.isLeading = false;
  }

  /** @param {AbortSignal} signal */
  async #listen(signal) {
    const headers = { ...this.api.headers, "last-event-id": String(this.revision) };
    const mine = new AbortController();
    signal.addEventListener("abort", () => mine.abort(), { once: true });
    const response = await fetch("/v1/events", { headers, signal: mine.signal });
    if (!response.ok || !response.body) throw new Error(`${response.status}`);
    this.#be("live");
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const parts = (rest + value).split("\n\n");
      rest = parts.pop() ?? "";
      const told = parts.map(eventOf).filter((one) => one !== null);
      const last = told.at(-1);
      this.channel?.postMessage({ state: "live", revision: last?.revision ?? this.revision });
      if (!last) continue;
      if (Date.now() - Date.parse(told[0].at) > BEHIND_MS && told.length > 1) {
        mine.abort();
        this.dispatchEvent(new Event("refetch"));
      }
      if (last.revision > this.revision) this.catchUp();
    }
  }

  /** @param {string} state */
  #be(state) {
    if (state === this.state) return;
    this.state = state;
    this.dispatchEvent(new Event("state"));
    if (this.isLeading) this.channel?.postMessage({ state, revision: this.revision });
  }
}

/** Return the data of one server-sent event, or null for a comment. @param {string} text */
export function eventOf(text) {
  const lines = text.split("\n").filter((line) => line.startsWith("data:"));
  if (!lines.length) return null;
  return JSON.parse(lines.map((line) => line.slice(5).trimStart()).join("\n"));
}

/** @returns {Promise<void>} */
function frame() {
  return new Promise((done) => {
    if (document.hidden) setTimeout(done, 50);
    else requestAnimationFrame(() => done());
  });
}

/** @param {number} ms @param {AbortSignal} signal @returns {Promise<void>} */
function pause(ms, signal) {
  return new Promise((done) => {
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", () => (clearTimeout(timer), done()), { once: true });
  });
}
