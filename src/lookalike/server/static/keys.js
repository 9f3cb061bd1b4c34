// The one registry of keys: it feeds the handler, the overlay, the hints on buttons and the docs.
// The array is JSON, so that tools can read it without running it.

/**
 * What a key does, where. `keys` are tokens as `tokenOf` gives them; "g r" is one after the other.
 * @typedef {{id: string, scope: string, keys: string[], does: string, inField?: boolean}} Key
 */

/** @type {Key[]} */
export const KEYS = [
  {"id": "help", "scope": "everywhere", "keys": ["?"], "does": "show the keys"},
  {"id": "palette", "scope": "everywhere", "keys": ["Ctrl+k"], "does": "do anything by name", "inField": true},
  {"id": "undo", "scope": "everywhere", "keys": ["z", "Ctrl+z"], "does": "undo, with the automatic labels that followed"},
  {"id": "redo", "scope": "everywhere", "keys": ["Shift+Z", "Ctrl+Shift+Z"], "does": "do again what was undone"},
  {"id": "start", "scope": "everywhere", "keys": ["g s"], "does": "go to Start"},
  {"id": "review", "scope": "everywhere", "keys": ["g r"], "does": "go to Review"},
  {"id": "audit", "scope": "everywhere", "keys": ["g a"], "does": "go to Audit"},
  {"id": "thresholds", "scope": "everywhere", "keys": ["g t"], "does": "go to Thresholds"},
  {"id": "map", "scope": "everywhere", "keys": ["g m"], "does": "go to Map"},
  {"id": "references", "scope": "everywhere", "keys": ["g f"], "does": "go to References"},
  {"id": "history", "scope": "everywhere", "keys": ["g h", "h"], "does": "open or close the history"},
  {"id": "fresh", "scope": "everywhere", "keys": ["."], "does": "bring in new items"},
  {"id": "close", "scope": "everywhere", "keys": ["Escape"], "does": "close, or select nothing", "inField": true},

  {"id": "left", "scope": "items", "keys": ["ArrowLeft"], "does": "one to the left"},
  {"id": "right", "scope": "items", "keys": ["ArrowRight"], "does": "one to the right"},
  {"id": "up", "scope": "items", "keys": ["ArrowUp"], "does": "one up"},
  {"id": "down", "scope": "items", "keys": ["ArrowDown"], "does": "one down"},
  {"id": "next", "scope": "items", "keys": ["j"], "does": "the next group"},
  {"id": "previous", "scope": "items", "keys": ["k"], "does": "the group before"},
  {"id": "pageDown", "scope": "items", "keys": ["PageDown"], "does": "a page down"},
  {"id": "pageUp", "scope": "items", "keys": ["PageUp"], "does": "a page up"},
  {"id": "first", "scope": "items", "keys": ["Home"], "does": "the first one"},
  {"id": "last", "scope": "items", "keys": ["End"], "does": "the last one"},
  {"id": "view", "scope": "items", "keys": [" "], "does": "big view"},
  {"id": "toggle", "scope": "items", "keys": ["x"], "does": "X out, or select, an item; on a sheet: not this"},
  {"id": "extendLeft", "scope": "items", "keys": ["Shift+ArrowLeft"], "does": "select to the left"},
  {"id": "extendRight", "scope": "items", "keys": ["Shift+ArrowRight"], "does": "select to the right"},
  {"id": "extendUp", "scope": "items", "keys": ["Shift+ArrowUp"], "does": "select upwards"},
  {"id": "extendDown", "scope": "items", "keys": ["Shift+ArrowDown"], "does": "select downwards"},
  {"id": "all", "scope": "items", "keys": ["Ctrl+a"], "does": "select this group or screen; again: all there is"},
  {"id": "crop", "scope": "items", "keys": ["c"], "does": "the part, or the whole it is from"},
  {"id": "pair", "scope": "items", "keys": ["b"], "does": "two side by side, or all again"},
  {"id": "larger", "scope": "items", "keys": ["+", "="], "does": "larger tiles"},
  {"id": "smaller", "scope": "items", "keys": ["-"], "does": "smaller tiles"},

  {"id": "accept", "scope": "decide", "keys": ["Enter", "a"], "does": "accept; on a sheet: all that is left"},
  {"id": "slot", "scope": "decide", "keys": ["1", "2", "3", "4", "5", "6", "7", "8", "9"], "does": "the label of that number"},
  {"id": "same", "scope": "decide", "keys": ["0"], "does": "the same label again"},
  {"id": "label", "scope": "decide", "keys": ["l", "/"], "does": "type a label"},
  {"id": "reject", "scope": "decide", "keys": ["d"], "does": "not this"},
  {"id": "cannotTell", "scope": "decide", "keys": ["u"], "does": "can't tell"},
  {"id": "skip", "scope": "decide", "keys": ["s"], "does": "skip"},
  {"id": "newKind", "scope": "decide", "keys": ["n"], "does": "a new category"},
  {"id": "allLabels", "scope": "decide", "keys": ["y"], "does": "these are all the labels, where that is asked"},
  {"id": "otherLabels", "scope": "decide", "keys": ["o"], "does": "there may be other labels, where that is asked"},
  {"id": "why", "scope": "decide", "keys": ["w"], "does": "why?"},
  {"id": "similar", "scope": "decide", "keys": ["f"], "does": "find similar"},
  {"id": "promote", "scope": "decide", "keys": ["r"], "does": "use it as a reference"},
  {"id": "demote", "scope": "decide", "keys": ["Shift+R"], "does": "a wrong reference: use it no more"},

  {"id": "panLeft", "scope": "map", "keys": ["ArrowLeft"], "does": "look further left"},
  {"id": "panRight", "scope": "map", "keys": ["ArrowRight"], "does": "look further right"},
  {"id": "panUp", "scope": "map", "keys": ["ArrowUp"], "does": "look further up"},
  {"id": "panDown", "scope": "map", "keys": ["ArrowDown"], "does": "look further down"},
  {"id": "closer", "scope": "map", "keys": ["+", "="], "does": "closer"},
  {"id": "further", "scope": "map", "keys": ["-"], "does": "further away"},
  {"id": "whole", "scope": "map", "keys": ["Home"], "does": "the whole map"},
  {"id": "nextGroup", "scope": "map", "keys": ["j"], "does": "the next group"},
  {"id": "previousGroup", "scope": "map", "keys": ["k"], "does": "the group before"},
  {"id": "take", "scope": "map", "keys": ["Enter", "x"], "does": "select the group"},
  {"id": "colouring", "scope": "map", "keys": ["c"], "does": "colour by something else"},
  {"id": "lasso", "scope": "map", "keys": ["o"], "does": "draw a lasso, or move"},

  {"id": "begin", "scope": "trust", "keys": ["Enter"], "does": "draw the sample, or close it; try the limit"},
  {"id": "blind", "scope": "trust", "keys": ["b"], "does": "show or hide the label that is audited"},
  {"id": "stricter", "scope": "trust", "keys": ["ArrowRight", "ArrowUp"], "does": "a stricter limit"},
  {"id": "looser", "scope": "trust", "keys": ["ArrowLeft", "ArrowDown"], "does": "a looser limit"},
  {"id": "muchStricter", "scope": "trust", "keys": ["PageUp"], "does": "a much stricter limit"},
  {"id": "muchLooser", "scope": "trust", "keys": ["PageDown"], "does": "a much looser limit"},
  {"id": "loosest", "scope": "trust", "keys": ["Home"], "does": "no limit at all"},
  {"id": "strictest", "scope": "trust", "keys": ["End"], "does": "the strictest limit"},
  {"id": "asItIs", "scope": "trust", "keys": ["i"], "does": "back to the limit in force"},
  {"id": "adopt", "scope": "trust", "keys": ["Shift+A"], "does": "adopt the challenger"},
  {"id": "dropIt", "scope": "trust", "keys": ["Shift+D"], "does": "drop the challenger"},

  {"id": "open", "scope": "wall", "keys": ["Enter"], "does": "go to the label's references"},
  {"id": "down", "scope": "wall", "keys": ["ArrowDown", "j"], "does": "the next label"},
  {"id": "up", "scope": "wall", "keys": ["ArrowUp", "k"], "does": "the label before"},
  {"id": "rename", "scope": "wall", "keys": ["e"], "does": "rename or move the label"},
  {"id": "merge", "scope": "wall", "keys": ["m"], "does": "merge it into another one"},
  {"id": "split", "scope": "wall", "keys": ["p"], "does": "split it: the marked, and the others"},
  {"id": "retire", "scope": "wall", "keys": ["t"], "does": "retire it"},
  {"id": "describe", "scope": "wall", "keys": ["i"], "does": "say what belongs to it"},
  {"id": "alias", "scope": "wall", "keys": ["o"], "does": "give it another name as well"},
  {"id": "keep", "scope": "wall", "keys": ["v"], "does": "keep this point as a version"},

  {"id": "accept", "scope": "field", "keys": ["Enter"], "does": "take the marked row", "inField": true},
  {"id": "create", "scope": "field", "keys": ["Shift+Enter"], "does": "make it a new label", "inField": true},
  {"id": "down", "scope": "field", "keys": ["ArrowDown"], "does": "the next one", "inField": true},
  {"id": "up", "scope": "field", "keys": ["ArrowUp"], "does": "the one before", "inField": true}
];

/** What stands over each scope in the overlay and in the docs, in their order. */
export const SCOPES = {
  items: "Move and select",
  decide: "Decide and understand",
  trust: "Audit and Thresholds",
  field: "While typing a label",
  map: "On the map",
  wall: "On References",
  everywhere: "Everywhere",
};

const SEQUENCE_MS = 1500;
const SHOWN = {
  " ": "Space", ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓", Enter: "Enter",
  Escape: "Esc", PageDown: "PgDn", PageUp: "PgUp",
};

/**
 * Return the token of a key press: letters by what they mean, digits by where they are.
 * @param {{key: string, code?: string, ctrlKey?: boolean, metaKey?: boolean, altKey?: boolean, shiftKey?: boolean}} event
 */
export function tokenOf(event) {
  if (event.altKey) return "";
  const control = event.ctrlKey || event.metaKey ? "Ctrl+" : "";
  const digit = /^(?:Digit|Numpad)([0-9])$/.exec(event.code ?? "");
  if (digit && !event.shiftKey) return control + digit[1];
  const isLetter = /^\p{L}$/u.test(event.key);
  const key = isLetter ? (event.shiftKey ? event.key.toUpperCase() : event.key.toLowerCase()) : event.key;
  const isShifted = event.shiftKey && (isLetter || event.key.length > 1);
  return control + (isShifted ? "Shift+" : "") + key;
}

/** Return how a token is written for people. @param {string} token */
export function shown(token) {
  return token
    .split(/(?<=[^+ ])\+/)
    .map((part) => SHOWN[/** @type {keyof typeof SHOWN} */ (part)] ?? part.replace(/^.$/u, (one) => one.toUpperCase()))
    .join("+")
    .replace(/^(.) (.)$/u, (_, one, two) => `${one.toUpperCase()} ${two.toUpperCase()}`);
}

/** Return the first key of an action, to be shown beside its name. @param {string} id @param {string} [scope] */
export function hint(id, scope) {
  const key = KEYS.find((one) => one.id === id && (!scope || one.scope === scope));
  return key ? shown(key.keys[0]) : "";
}

/**
 * @typedef {{[id: string]: (token: string, event: Event) => unknown}} Handlers
 * @typedef {{scope: string, handlers: Handlers, modal: boolean, isOn: () => boolean}} Layer
 */

/** Who listens to which keys now: the layer that came last is asked first. */
export class Keyboard {
  constructor(keys = KEYS) {
    this.keys = keys;
    /** @type {Layer[]} */
    this.layers = [];
    this.hasLetters = true;
    this.begun = "";
    this.begunAt = 0;
  }

  /**
   * Listen to the keys of a scope while `isOn`; returns what ends that. Under a `modal` layer nobody hears.
   * @param {string} scope @param {Handlers} handlers @param {{modal?: boolean, isOn?: () => boolean}} [how]
   */
  bind(scope, handlers, { modal = false, isOn = () => true } = {}) {
    const layer = { scope, handlers, modal, isOn };
    this.layers.push(layer);
    return () => {
      this.layers = this.layers.filter((one) => one !== layer);
    };
  }

  /**
   * Run what a key press means; returns whether it meant something.
   * @param {KeyboardEvent} event @param {number} [now]
   */
  press(event, now = event.timeStamp) {
    if (event.isComposing || event.defaultPrevented || isModifier(event.key)) return false;
    const token = tokenOf(event);
    const target = /** @type {Element | null} */ (event.composedPath?.()[0] ?? event.target);
    const typing = isField(target);
    if (!token || (isPressable(target) && (token === "Enter" || token === " "))) return false;
    const begun = now - this.begunAt < SEQUENCE_MS ? this.begun : "";
    this.begun = "";
    for (const wanted of begun ? [`${begun} ${token}`, token] : [token]) {
      if (this.run(wanted, typing, event)) return true;
    }
    const begins = this.keys.some((one) => one.keys.some((key) => key.startsWith(`${token} `)));
    if (begins && !typing && this.hasLetters) {
      this.begun = token;
      this.begunAt = now;
    }
    return false;
  }

  /** @param {string} token @param {boolean} typing @param {KeyboardEvent} event */
  run(token, typing, event) {
    if (!this.hasLetters && /^\p{L}( \p{L})?$/u.test(token)) return false;
    for (const layer of this.layers.filter((one) => one.isOn()).reverse()) {
      const found = this.keys.find(
        (one) => one.scope === layer.scope && one.keys.includes(token) && layer.handlers[one.id],
      );
      if (found && (!typing || found.inField) && layer.handlers[found.id](token, event) !== false) {
        event.preventDefault();
        return true;
      }
      if (layer.modal) return false;
    }
    return false;
  }
}

/** @param {string} key */
function isModifier(key) {
  return key === "Shift" || key === "Control" || key === "Alt" || key === "Meta";
}

/** @param {Element | null} target */
function isField(target) {
  return Boolean(target?.matches?.("input:not([type=checkbox],[type=radio],[type=range]), textarea, select, [contenteditable]"));
}

/** @param {Element | null} target */
function isPressable(target) {
  return Boolean(target?.closest?.("button, a[href], summary, [role=button]"));
}
