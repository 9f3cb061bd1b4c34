// A box over the page that has the keyboard while it is open.

import { keyboard } from "./session.js";

/** What ends the keys of a box. @type {WeakMap<HTMLDialogElement, () => void>} */
const ends = new WeakMap();

/**
 * Open a `<dialog>` so that only its own keys work.
 * @param {HTMLDialogElement} dialog @param {string} scope @param {import("./keys.js").Handlers} [handlers]
 */
export function openModal(dialog, scope, handlers = {}) {
  ends.get(dialog)?.(); // closed and opened again before it told that it was closed
  dialog.showModal();
  const isOn = () => dialog.open; // it is closed at once, and tells so a moment later
  const keys = [
    keyboard.bind(scope, handlers, { modal: true, isOn }),
    keyboard.bind("everywhere", { close: () => dialog.close() }, { isOn }),
    keyboard.bind(scope, handlers, { isOn }),
  ];
  const over = new AbortController();
  const end = () => (over.abort(), keys.forEach((one) => one()), ends.delete(dialog));
  ends.set(dialog, end);
  dialog.addEventListener("close", () => dialog.open || end(), { signal: over.signal });
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close(), { signal: over.signal });
}
