// The pages, in the order of the header. To add one: write its module, name it here.

/** @typedef {{id: string, title: string, asks: string, element: string, load: () => Promise<unknown>}} Page */

/** @type {Page[]} */
export const PAGES = [
  { id: "start", title: "Start", asks: "What do I do now?", element: "lk-start", load: () => import("./start.js") },
  { id: "review", title: "Review", asks: "What needs me?", element: "lk-review", load: () => import("./review.js") },
  { id: "audit", title: "Audit", asks: "Can I trust it?", element: "lk-audit", load: () => import("./audit.js") },
  { id: "thresholds", title: "Thresholds", asks: "How strict?", element: "lk-thresholds", load: () => import("./thresholds.js") },
  { id: "map", title: "Map", asks: "What does it look like?", element: "lk-map", load: () => import("./map.js") },
];
