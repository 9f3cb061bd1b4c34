// A box over the page that has the keyboard while it is open.

import { keyboard } from "./session.js";

/**
 * Open a `<dialog>` so that only its own keys work; returns what closes it.
 * @param {HTMLDialogElement} dialog @param {string} scope @param {import("./keys.js").Handlers} [handlers] @param {() => void} [closed]
 */
export function openModal(dialog, scope, handlers = {}, closed = () => {}) {
  dialog.showModal();
  const isOn = () => dialog.open; // it is closed at once, and tells so a moment later
  const end = [
    keyboard.bind(scope, handlers, { modal: true, isOn }),
    keyboard.bind("everywhere", { close: () => dialog.close() }, { isOn }),
    keyboard.bind(scope, handlers, { isOn }),
  ];
  const over = new AbortController();
  const ended = () => (over.abort(), end.forEach((one) => one()), closed());
  dialog.addEventListener("close", ended, { once: true });
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close(), { signal: over.signal });
  return () => dialog.close();
}
