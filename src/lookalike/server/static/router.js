// The address holds all state: #/review?c=shop&field=label&tab=null. Back and forward just work.

/** @typedef {{page: string, params: Record<string, string>}} Route */

/** Return what an address says. @param {string} hash @returns {Route} */
export function parse(hash) {
  const [path, query = ""] = hash.replace(/^#\/?/, "").split("?");
  return { page: path || "start", params: Object.fromEntries(new URLSearchParams(query)) };
}

/** Return the address of a route; what is empty is left out. @param {Route} route */
export function format({ page, params }) {
  const told = Object.entries(params).filter(([, value]) => value !== "" && value != null);
  const query = new URLSearchParams(told).toString();
  return `#/${page}${query ? `?${query}` : ""}`;
}

const KEPT = ["ns", "c", "field"];

/** Reads and changes the address of the window. */
export class Router extends EventTarget {
  /** @param {Window} window */
  constructor(window) {
    super();
    this.window = window;
    this.route = parse(window.location.hash);
    window.addEventListener("hashchange", () => this.#take());
  }

  /** Go to a page; namespace, collection and field stay unless said. @param {string} page @param {Record<string, string>} [params] */
  go(page, params = {}) {
    this.window.location.hash = format({ page, params: { ...this.#kept(), ...params } });
  }

  /** Return the address of a page, for a link. @param {string} page @param {Record<string, string>} [params] */
  to(page, params = {}) {
    return format({ page, params: { ...this.#kept(), ...params } });
  }

  /** Change parameters of the page that is shown, without a step in the history. @param {Record<string, string>} params */
  set(params) {
    const route = { page: this.route.page, params: { ...this.route.params, ...params } };
    const hash = format(route);
    if (hash === format(this.route)) return;
    this.window.history.replaceState(null, "", hash);
    this.#take();
  }

  #kept() {
    const { params } = this.route;
    return Object.fromEntries(KEPT.filter((name) => params[name]).map((name) => [name, params[name]]));
  }

  #take() {
    this.route = parse(this.window.location.hash);
    this.dispatchEvent(new Event("change"));
  }
}
