// The verbs of the tree of labels: typed, shown before they are done, and undone by one key.

import { html, LitElement, nothing } from "./vendor/lit.js";
import { act, did } from "./answers.js";
import { choose } from "./choose.js";
import { openModal } from "./dialog.js";
import { hint } from "./keys.js";
import { isWithin } from "./problems.js";
import { api, store } from "./session.js";
import { tell } from "./toast.js";

/** What is asked before it is done. @typedef {{title: string, verb: string, told: any, names: string[], says: string, path: string, body: any, done: () => void}} Asked */

class Preview extends LitElement {
  constructor() {
    super();
    /** @type {Asked | null} */
    this.asked = null;
  }

  createRenderRoot() {
    return this;
  }

  /** @param {Asked} asked */
  async open(asked) {
    this.asked = asked;
    this.requestUpdate();
    await this.updateComplete;
    openModal(/** @type {HTMLDialogElement} */ (this.querySelector("dialog")), "field", { accept: () => this.#do() });
    this.querySelector("button")?.focus();
  }

  #do() {
    const { asked } = this;
    this.querySelector("dialog")?.close();
    if (!asked) return;
    this.asked = null;
    const { title, path, body, done } = asked;
    act(path, body, {
      what: title,
      done: (told) => {
        tell(`${title}: ${wordsOf(told)} · ${hint("undo")} to undo`, { id: "answer", kind: "good" });
        done();
      },
    });
  }

  render() {
    const { asked } = this;
    return html`<dialog class="sheet narrow preview" aria-label=${asked?.title ?? "Preview"}>
      ${asked ? html`<h2>${asked.title}?</h2>
        <p>${asked.says}</p>
        <ul class="dim">${linesOf(asked.told, asked.names).map((line) => html`<li>${line}</li>`)}</ul>
        <p class="row"><button class="main" @click=${() => this.#do()}>${asked.verb} <kbd>Enter</kbd></button><button class="quiet" @click=${() => this.querySelector("dialog")?.close()}>Leave it <kbd>Esc</kbd></button></p>` : nothing}
    </dialog>`;
  }
}
customElements.define("lk-preview", Preview);

/** @param {any} told */
function wordsOf({ changed, ripple }) {
  return `${changed.by_person.toLocaleString()} by people, ${ripple.toLocaleString()} by itself`;
}

/** How many the machine would label so, and how many it would decide otherwise. @param {any} told @param {string[]} names @returns {[number, number]} */
function split({ changed, ripple }, names) {
  const counts = [changed.labelled, changed.relabelled].flatMap((one) => Object.entries(one));
  const so = counts.filter(([label]) => names.some((name) => isWithin(label, name))).reduce((sum, [, count]) => sum + Number(count), 0);
  return [so, ripple - so];
}

/** What labels would be called, and whose decision would be another one. @param {any} told @param {string[]} names */
function linesOf({ changed }, names) {
  const pairs = (/** @type {any} */ counts, isNamed = false) => Object.entries(counts).filter(([label]) => isNamed || !names.some((name) => isWithin(label, name))).sort((a, b) => Number(b[1]) - Number(a[1])).slice(0, 4).map(([name, count]) => `${Number(count).toLocaleString()} × ${name}`).join(", ");
  const renamed = Object.entries(changed.renamed);
  /** @type {[string, string][]} */
  const others = [["Labelled now", pairs(changed.labelled)], ["Labelled otherwise", pairs(changed.relabelled)], ["Without a label then", pairs(changed.unlabelled, true)]];
  return [
    ...renamed.slice(0, 5).map(([from, to]) => `${from} → ${to}`), renamed.length > 5 ? `and ${renamed.length - 5} more labels` : "",
    ...others.map(([name, counts]) => counts && `${name}: ${counts}`),
  ].filter(Boolean);
}

/** The verbs of one tree; `read` reads it again, `open` shows a label of it. */
export class Shaping {
  /** @param {{path: () => string, field: () => string, labels: () => any[], preview: () => Preview, open: (label: string, was?: string) => void, given: (label: string) => Promise<string[]>}} tree */
  constructor(tree) {
    this.tree = tree;
  }

  /** @param {string} label */
  rename(label) {
    choose({
      title: `Rename or move ${label}`, placeholder: "Its new path: Above > Name", typed: label, choices: [], making: "Rename to",
      create: (to) => to !== label && this.#ask("rename", { label, to }, { title: `${label} → ${to}`, verb: "Rename", reads: [to], shows: to }), take: () => {},
    });
  }

  /** @param {string} label */
  merge(label) {
    const into = (/** @type {string} */ to) => this.#ask("merge", { labels: [label], into: to }, { title: `Merge ${label} into ${to}`, verb: "Merge", reads: [to], shows: to });
    choose({ title: `Merge ${label} into`, placeholder: "The label that it is to be", choices: this.#others(label), take: into, create: into });
  }

  /** @param {string} label */
  retire(label) {
    this.#ask("retire", { label }, { title: `Retire ${label}`, verb: "Retire", reads: [], shows: label });
  }

  /** Ask what the chosen references are called from now on, and what the others. @param {string} label @param {string[]} chosen */
  split(label, chosen) {
    if (!chosen.length) return tell("First mark what is to be a label of its own: X on each.");
    const name = (/** @type {string} */ title, /** @type {(name: string) => void} */ take) => choose({ title, placeholder: "A label", choices: this.#others(label), take, create: take });
    name(`The ${chosen.length} marked are`, async (part) => {
      const given = await this.tree.given(label);
      const rest = given.filter((id) => !chosen.includes(id));
      const go = (/** @type {Record<string, string[]>} */ parts) => this.#ask("split", { label, parts }, { title: `Split ${label}`, verb: "Split", reads: Object.keys(parts), shows: part });
      if (rest.length) name(`The other ${rest.length} are`, (other) => go({ [part]: chosen, [other]: rest }));
      else go({ [part]: chosen });
    });
  }

  /** Say what belongs to a label, or how else it is called. @param {any} node */
  describe(node) {
    this.#write(node.label, `What belongs to ${node.label}?`, "A sentence for who labels", node.description, (description) => ({ description }));
  }

  /** @param {any} node */
  alias(node) {
    this.#write(node.label, `How else is ${node.label} called?`, "Another name; it means this label from now on", "", (name) => ({ aliases: [...node.aliases, name] }));
  }

  /** @param {string} label @param {string} title @param {string} placeholder @param {string} typed @param {(text: string) => any} body */
  #write(label, title, placeholder, typed, body) {
    const create = async (/** @type {string} */ text) => {
      try {
        const told = await api.send("PATCH", this.tree.path(), { label, field: this.tree.field(), ...body(text) });
        did(told.operation_id);
        tell(`Written down · ${hint("undo")} to undo`, { id: "answer", kind: "good" });
        this.tree.open(label);
      } catch (error) {
        tell(/** @type {Error} */ (error).message, { kind: "bad", stays: true });
      }
    };
    choose({ title, placeholder, typed, choices: [], making: "Write down", take: () => {}, create });
  }

  /** @param {string} label */
  #others(label) {
    return this.tree.labels().filter((one) => one.label !== label && !one.retired).map((one) => ({ name: one.label }));
  }

  /** Show what a verb would do, and let it be done. @param {string} verb @param {any} said @param {{title: string, verb: string, reads: string[], shows: string}} how */
  async #ask(verb, said, how) {
    const path = `${this.tree.path()}/${verb}`;
    const body = { ...said, field: this.tree.field() };
    try {
      const told = await api.post(path, { ...body, preview: true });
      const mine = `${told.changed.by_person.toLocaleString()} labels by people`;
      const [so, otherwise] = split(told, how.reads);
      const others = otherwise ? ` ${otherwise.toLocaleString()} ${otherwise === 1 ? "other" : "others"} would be decided otherwise.` : "";
      const says = how.reads.length ? `${mine} and ${so.toLocaleString()} by itself would read ${how.reads.join(" or ")}.${others}` : `${mine} would vote no more, and ${told.ripple.toLocaleString()} by itself would be decided otherwise.`;
      const was = said.label ?? said.labels[0];
      this.tree.preview().open({ ...how, told, names: how.reads, says, path, body, done: () => this.tree.open(how.shows, was) });
    } catch (error) {
      tell(/** @type {Error} */ (error).message, { kind: "bad", stays: true });
    }
  }
}

/** Keep the point where the labels are now. @param {string} path @param {() => void} done */
export function keepVersion(path, done) {
  const create = async (/** @type {string} */ name) => {
    try {
      await api.post(path, { name, field: store.get("field") });
      tell(`Kept as ${name}: it can be asked for as it is now, for ever.`, { id: "answer", kind: "good" });
      done();
    } catch (error) {
      tell(/** @type {Error} */ (error).message, { kind: "bad", stays: true });
    }
  };
  choose({ title: "Keep this point as", placeholder: "A name, such as before-summer", choices: [], making: "Keep as", take: () => {}, create });
}

/** Offer a version no more; it stays, and can be asked for by its name. @param {string} path @param {string} name @param {() => void} done */
export async function retireVersion(path, name, done) {
  try {
    await api.post(path);
    tell(`${name} is offered no more. Who asks for it by its name still gets what it gave.`, { id: "answer", kind: "good" });
    done();
  } catch (error) {
    tell(/** @type {Error} */ (error).message, { kind: "bad", stays: true });
  }
}
