// The palette: everything that can be done, by its name.

import { choose } from "./choose.js";
import { hint } from "./keys.js";
import { PAGES } from "./pages.js";
import { router, store } from "./session.js";

/** @typedef {{name: string, hint: string, run: () => void}} Command */

/** Open the palette; `more` is what can be done where one is. @param {Command[]} more */
export function openPalette(more) {
  const commands = [...more, ...pages(), ...collections()];
  return choose({
    title: "Do anything by name",
    placeholder: "Go, do, find…",
    choices: commands,
    take: (name) => commands.find((one) => one.name === name)?.run(),
  });
}

/** @returns {Command[]} */
function pages() {
  return PAGES.map((one) => ({ name: `Go to ${one.title}`, hint: hint(one.id), run: () => router.go(one.id) }));
}

/** @returns {Command[]} */
function collections() {
  const found = store.get("collections") ?? [];
  return found.flatMap((/** @type {any} */ one) =>
    one.fields.map((/** @type {any} */ by) => ({
      name: `Open ${one.collection_name} · ${by.field}`, hint: "",
      run: () => router.go(router.route.page, { c: one.collection_name, field: by.field }),
    })),
  );
}
