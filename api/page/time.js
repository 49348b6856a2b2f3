// Chooses the time range: before the newest row, or from when to when.

import { html } from "./html.js";
import { clock } from "./format.js";
import { NAMES, before, span, turn } from "./range.js";
import { go, state } from "./state.js";

export function TimePicker() {
  const { range, from, to, zone } = state.value;
  const isFixed = Boolean(from && to);
  const now = span.value;
  const fix = (/** @type {Partial<import("./range.js").Span>} */ changes) => {
    if (now) go({ from: changes.from ?? now.from, to: changes.to ?? now.to, live: "" });
  };
  const wider = () => {
    if (!now) return;
    const length = (Date.parse(now.to) - Date.parse(now.from)) / 1000;
    go({ from: before(now.from, length), to: before(now.to, -length), live: "" });
  };
  return html`<div class="time">
    <select aria-label="Time range" value=${isFixed ? "" : range} onChange=${(/** @type {any} */ event) => event.target.value ? go({ range: event.target.value, from: "", to: "" }) : fix({})}>
      ${Object.entries(NAMES).map(([value, name]) => html`<option key=${value} value=${value}>Last ${name}</option>`)}
      <option value="">${isFixed && now ? `${clock(now.from, "second")} – ${clock(now.to, "second")}` : "From … to …"}</option>
    </select>
    ${isFixed && html`<span class="fixed">
      <input type="datetime-local" step="1" aria-label="From" value=${forInput(from)} onChange=${(/** @type {any} */ event) => fix({ from: fromInput(event.target.value, from) })} />
      <input type="datetime-local" step="1" aria-label="To" value=${forInput(to)} onChange=${(/** @type {any} */ event) => fix({ to: fromInput(event.target.value, to) })} />
    </span>`}
    <button onClick=${wider} title="Three times as long (o)" aria-label="Three times as long">⤢</button>
    <button onClick=${() => (turn.value += 1)} title="Ask again (r)" aria-label="Ask again">↻</button>
    <select aria-label="Time zone" value=${zone} onChange=${(/** @type {any} */ event) => go({ zone: event.target.value })}>
      <option value="utc">UTC</option><option value="local">Local</option></select>
  </div>`;
}

/** @param {string} time */
const forInput = (time) => clock(time, "second").replace(" ", "T");

/** @param {string} text @param {string} old */
function fromInput(text, old) {
  const moment = new Date(state.value.zone === "utc" ? `${text}Z` : text);
  return Number.isNaN(moment.getTime()) ? old : moment.toISOString();
}
