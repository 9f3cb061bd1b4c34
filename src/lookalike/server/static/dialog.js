// A box over the page that has the keyboard while it is open.

import { keyboard } from "./session.js";

/**
 * Open a `<dialog>` so that only its own keys work; returns what closes it.
 * @param {HTMLDialogElement} dialog @param {string} scope @param {import("./keys.js").Handlers} [handlers] @param {() => void} [closed]
 */
export function openModal(dialog, scope, handlers = {}, closed = () => {}) {
  const end = [
    keyboard.bind(scope, handlers, { modal: true }),
    keyboard.bind("everywhere", { close: () => dialog.close() }),
    keyboard.bind(scope, handlers),
  ];
  dialog.addEventListener("close", () => (end.forEach((one) => one()), closed()), { once: true });
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  dialog.showModal();
  return () => dialog.close();
}
