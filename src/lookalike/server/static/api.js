// The public REST API, and nothing else: JSON in, JSON out, errors that say what to do.

/** An answer that is none. `status` 0 is no connection at all. */
export class Failure extends Error {
  /** @param {number} status @param {string} code @param {string} message @param {Record<string, any>} [details] @param {string} [request] */
  constructor(status, code, message, details = {}, request = "") {
    super(message);
    this.status = status;
    this.code = code;
    this.details = details;
    this.request = request;
  }

  /** Whether the same request may succeed later. */
  get mayPass() {
    return this.status === 0 || this.status >= 500 || this.status === 429;
  }
}

/** Asks the server that the page has come from. A key, where it needs one, is kept for the tab. */
export class Api extends EventTarget {
  /** @param {{fetch?: typeof fetch, storage?: Pick<Storage, "getItem" | "setItem"> | null}} [how] */
  constructor({ fetch = globalThis.fetch?.bind(globalThis), storage = globalThis.sessionStorage } = {}) {
    super();
    this.fetch = fetch;
    this.storage = storage;
    this.namespace = "";
    this.key = storage?.getItem("key") ?? "";
  }

  /** @param {string} key */
  useKey(key) {
    this.key = key.trim();
    this.storage?.setItem("key", this.key);
  }

  get headers() {
    /** @type {Record<string, string>} */
    const headers = {};
    if (this.namespace) headers["x-namespace"] = this.namespace;
    if (this.key) headers.authorization = `Bearer ${this.key}`;
    return headers;
  }

  /** @param {string} path @param {Record<string, any>} [query] @param {RequestInit} [more] */
  get(path, query = {}, more = {}) {
    return this.#ask("GET", withQuery(path, query), undefined, more);
  }

  /** @param {string} path @param {any} [body] @param {RequestInit} [more] */
  post(path, body = {}, more = {}) {
    return this.#ask("POST", path, body, more);
  }

  /** @param {string} method @param {string} path @param {any} [body] */
  send(method, path, body) {
    return this.#ask(method, path, body, {});
  }

  /** Return an answer that is no JSON, whatever its status says. @param {string} path @param {Record<string, any>} [query] */
  async raw(path, query = {}) {
    let response;
    try {
      response = await this.fetch(`/v1${withQuery(path, query)}`, { headers: this.headers });
    } catch {
      throw new Failure(0, "offline", "the server does not answer; is `lookalike serve` still running?");
    }
    if (response.ok) return response;
    const told = (await response.json().catch(() => null))?.error ?? {};
    if (response.status === 401) this.dispatchEvent(new Event("key"));
    throw new Failure(response.status, told.code ?? "failed", told.message ?? `the server answered ${response.status}`, told.details);
  }

  /** Return bytes that only a key opens, as an address of the page's own. @param {string} path */
  async picture(path) {
    const response = await this.fetch(path, { headers: this.headers });
    if (!response.ok) throw new Failure(response.status, "picture", "the picture did not come");
    return URL.createObjectURL(await response.blob());
  }

  /** @param {string} method @param {string} path @param {any} body @param {RequestInit} more */
  async #ask(method, path, body, more) {
    /** @type {Record<string, string>} */
    const headers = { ...this.headers };
    if (body !== undefined) headers["content-type"] = "application/json";
    let response;
    try {
      response = await this.fetch(`/v1${path}`, { method, headers, body: body === undefined ? undefined : JSON.stringify(body), ...more });
    } catch (error) {
      if (/** @type {Error} */ (error).name === "AbortError") throw error;
      throw new Failure(0, "offline", "the server does not answer; is `lookalike serve` still running?");
    }
    const text = await response.text();
    let answer;
    try {
      answer = text ? JSON.parse(text) : null;
    } catch {
      answer = null;
    }
    if (response.ok) return answer;
    const told = answer?.error ?? {};
    const request = response.headers.get("x-request-id") ?? "";
    const failure = new Failure(response.status, told.code ?? "failed", told.message ?? `the server answered ${response.status}`, told.details, request);
    if (response.status === 401) this.dispatchEvent(new Event("key"));
    throw failure;
  }
}

/** Return a path with its query; what is empty is left out. @param {string} path @param {Record<string, any>} query */
export function withQuery(path, query) {
  const told = Object.entries(query).filter(([, value]) => value !== undefined && value !== null && value !== "");
  const text = new URLSearchParams(told.map(([name, value]) => [name, String(value)])).toString();
  return text ? `${path}?${text}` : path;
}

/** Return a new id, sortable by nothing: 128 random bits. */
export function newId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (one) => one.toString(16).padStart(2, "0")).join("");
}
