// A trial: another rule in shadow against the one in force. Only where the two disagree is anybody asked.

import { html, LitElement, nothing } from "./vendor/lit.js";
import { act } from "./answers.js";
import { newId } from "./api.js";
import { between, inHundred } from "./figures.js";
import { hint } from "./keys.js";
import "./question.js";
import { bodyOf, progress, worded } from "./question.js";
import { api, here, keyboard, outbox } from "./session.js";
import { Stream } from "./stream.js";
import { tell } from "./toast.js";

const DRAWN = 30;
const FEW_LEFT = 10;

/** Shows the open trial of `id`; when it has ended there is an event `ended`. */
class TrialPanel extends LitElement {
  static properties = { id: {} };

  constructor() {
    super();
    this.id = "";
    /** @type {any} */
    this.trial = null;
    this.keep = true;
    this.stream = new Stream((answers, settled) => this.#send(answers, settled), () => this.requestUpdate());
  }

  createRenderRoot() {
    return this;
  }

  connectedCallback() {
    super.connectedCallback();
    const ends = [
      keyboard.bind("everywhere", { undo: () => this.#takeBack() }),
      keyboard.bind("trust", { adopt: () => this.#end("adopt"), dropIt: () => this.#end("drop") }),
    ];
    const flush = () => this.stream.flush(true);
    addEventListener("pagehide", flush);
    this.end = () => (ends.forEach((one) => one()), removeEventListener("pagehide", flush));
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    this.stream.flush(true);
    this.end?.();
  }

  /** @param {Map<string, any>} changed */
  willUpdate(changed) {
    if (!changed.has("id") || !this.id) return;
    this.stream.clear();
    this.trial = null;
    this.path = here(`/trials/${this.id}`);
    this.#draw();
  }

  /** Let chance draw some more disagreements. */
  async #draw() {
    try {
      const drawn = await api.post(`${this.path}/draw`, { limit: DRAWN });
      this.trial = drawn;
      this.stream.fill(drawn.next);
    } catch (error) {
      this.trial = await api.get(String(this.path)).catch(() => null);
      this.requestUpdate();
      tell(/** @type {Error} */ (error).message, { kind: "bad" });
    }
  }

  /** @param {import("./question.js").Said} said */
  #said(said) {
    this.stream.say(said);
    if (this.stream.queue.length === FEW_LEFT) this.#draw();
  }

  /** @type {import("./stream.js").Send} */
  #send(answers, settled) {
    const done = (/** @type {any} */ told) => {
      settled(true);
      if (told.trial_id === this.id) this.trial = told;
      this.requestUpdate();
    };
    outbox.add({ id: newId(), path: `${this.path}/answers`, body: bodyOf(answers), what: worded(answers[0].said), done, back: () => settled(false) });
  }

  #takeBack() {
    if (this.stream.takeBack()) return true;
    if (!this.stream.answered.size) return false;
    tell("An answer in a trial stays once the next one is given. Adopting or dropping can be undone as a whole.", { id: "stays" });
    return true;
  }

  /** @param {"adopt" | "drop"} how */
  async #end(how) {
    this.stream.flush(true);
    await outbox.settled();
    const what = how === "adopt" ? "adopting the challenger" : "dropping the challenger";
    const done = () => this.dispatchEvent(new CustomEvent("ended"));
    act(`${this.path}/${how}`, { keep: this.keep }, { what, done });
  }

  render() {
    const { trial, stream } = this;
    if (!trial) return html`<section class="card dim" aria-label="The trial">Comparing the two on what is known …</section>`;
    const { crossing } = trial;
    const [doc, ...next] = stream.queue;
    const differ = crossing.only_champion + crossing.only_challenger + crossing.different;
    return html`<section class="card trial" aria-label="The trial">
      <div class="row"><h2>A challenger in shadow</h2><span class="pill">it labels nothing</span><span class="spring"></span>
        <label class="check"><input type="checkbox" .checked=${this.keep} @change=${(/** @type {any} */ event) => (this.keep = event.target.checked)} /> Keep my answers as labels</label>
        <button @click=${() => this.#end("drop")}>Drop it <kbd>${hint("dropIt")}</kbd></button><button class=${trial.comparison.better === "challenger" ? "main" : ""} @click=${() => this.#end("adopt")}>Adopt it <kbd>${hint("adopt")}</kbd></button></div>
      <p class="verdict" role="status">${said(trial.verdict)}${trial.comparison.answers ? html` <span class="dim">from ${trial.comparison.answers} answers where they differ</span>` : nothing}</p>
      ${trial.trouble ? html`<p class="amber">${trial.trouble}</p>` : nothing}
      <table class="figures"><thead><tr><th scope="col">Rule</th><th scope="col" class="number">labels by itself</th><th scope="col" class="number">of all</th><th scope="col">right on what was answered before</th></tr></thead>
        <tbody>${this.#side("The challenger", trial.challenger)}${this.#side("The rule in force", trial.champion)}</tbody></table>
      <p class="dim">They decide otherwise on ${differ.toLocaleString()} of ${crossing.documents.toLocaleString()}: only the challenger labels ${crossing.only_challenger.toLocaleString()}, only the rule in force ${crossing.only_champion.toLocaleString()}, and ${crossing.different.toLocaleString()} get another label.</p>
      ${doc ? html`${progress(trial.answered.length + (stream.held ? 1 : 0), trial.answered.length + trial.waiting, stream)}
        <lk-question .doc=${doc} .next=${next.slice(0, 3)} .mayBeNew=${true} @said=${(/** @type {CustomEvent} */ event) => this.#said(event.detail)}></lk-question>`
      : html`<p class="dim">${stream.held ? html`Your last answer is recorded in a moment: ${worded(stream.held.said)} <button class="quiet" @click=${() => stream.takeBack()}>Take back <kbd>${hint("undo")}</kbd></button>` : differ ? "All disagreements that chance drew are answered." : "There is nothing to ask: the two decide alike."}</p>`}
    </section>`;
  }

  /** @param {string} name @param {any} side */
  #side(name, side) {
    const from = side.right + side.wrong;
    return html`<tr><th scope="row">${name}</th><td class="number">${side.labelled.toLocaleString()}</td><td class="number">${inHundred(side.coverage)}</td>
      <td>${side.precision === null ? html`<span class="dim">unknown: chance drew nothing that it labels</span>` : html`${inHundred(side.precision)} <span class="dim">(${between(side)}), from ${from} checked</span>`}</td></tr>`;
  }
}
customElements.define("lk-trial", TrialPanel);

/** Return a verdict as a sentence of the page. @param {string} verdict */
function said(verdict) {
  const text = verdict.replace("the champion", "the rule in force");
  return text.charAt(0).toUpperCase() + text.slice(1);
}
