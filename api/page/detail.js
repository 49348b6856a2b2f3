// One row: all that it has, and the lines around it in its file.

import { html } from "./html.js";
import { useEffect, useRef, useState } from "preact/hooks";
import { useAnswer } from "./ask.js";
import { attribute, attributes, clock, narrowed, text, tone } from "./format.js";
import { chosen, showColumn } from "./columns.js";
import { Problem } from "./panel.js";
import { placeOf } from "./rows.js";
import { go, state } from "./state.js";

/** @typedef {import("./format.js").Row} Row */

const HIDDEN = new Set(["cut", "attributes"]);
const NEVER_FILTERED = new Set(["line", "cut"]);

/** @param {{ known: Row | undefined }} props */
export function Detail({ known }) {
  const [file, offset] = state.value.row.split(":");
  const place = useRef(/** @type {HTMLElement | null} */ (null));
  const [around, setAround] = useState(5);
  const answer = useAnswer(
    /^\d+$/.test(file ?? "") && /^\d+$/.test(offset ?? "") ? `/logs/${file}/${offset}?before=${around}&after=${around}` : null,
  );
  /** @type {any} */
  const found = answer.data && String(answer.data.row?.offset) === offset ? answer.data : null;
  /** @type {Row | undefined} */
  const row = found?.row ?? known;
  useEffect(() => {
    place.current?.scrollTo(0, 0);
  }, [state.value.row]);
  const close = () => go({ row: "" }, true);
  return html`<aside class="detail" aria-label="One row" ref=${place} tabindex="0">
    <header><h2>${row ? clock(row.timestamp) : "Row"}</h2>
      <button onClick=${close} aria-label="Close" title="Close (Esc)">×</button></header>
    ${row && html`<${Fields} row=${row} />`}
    <h3>Around it in its file</h3>
    <${Problem} error=${answer.error} />
    ${!answer.error && !found && html`<p class="quiet">Asking …</p>`}
    ${found && html`<ol class="around">
      ${found.before.map((/** @type {Row} */ one) => html`<${Neighbour} row=${one} />`)}
      ${found.row && html`<${Neighbour} row=${found.row} isThis />`}
      ${found.after.map((/** @type {Row} */ one) => html`<${Neighbour} row=${one} />`)}
    </ol>
    ${around < 50 && html`<button onClick=${() => setAround(50)}>50 lines before and after</button>`}`}
  </aside>`;
}

/** @param {{ row: Row }} props */
function Fields({ row }) {
  /** @type {[string, unknown][]} */
  const plain = Object.entries(row).filter(([name, value]) => !HIDDEN.has(name) && (value || (name === "duration" && value === 0))); // what it lacks is empty or 0, or null
  const keys = attributes(row);
  if (row.attributes && row.attributes !== "{}" && !keys.length) plain.push(["attributes", row.attributes]);
  /** @type {[string, unknown][]} */
  const all = [...plain, ...keys.map(([key, value]) => /** @type {[string, unknown]} */ ([attribute(key), value]))];
  return html`<table class="fields"><tbody>
    ${all.map(([name, value]) => {
      const shown = typeof value === "object" ? JSON.stringify(value) : String(value);
      const isWhole = !row.cut?.includes(name) && shown.length <= 1000 && !NEVER_FILTERED.has(name);
      return html`<tr key=${name}><th scope="row">${name}</th><td>
        ${name === "timestamp" ? clock(shown) : shown}${row.cut?.includes(name) ? html`<em> … cut</em>` : ""}
        <span class="tools">
          <button title=${`${chosen().includes(name) ? "Without" : "With"} the column ${name}`} aria-label=${`The column ${name}`} aria-pressed=${chosen().includes(name)} onClick=${() => showColumn(name)}>▥</button>${isWhole && html`
          <button title=${`Only ${name} = ${shown}`} aria-label=${`Only rows with this ${name}`} onClick=${() => go({ filter: narrowed(state.value.filter, name, value) })}>+</button>
          <button title=${`Without ${name} = ${shown}`} aria-label=${`Only rows without this ${name}`} onClick=${() => go({ filter: narrowed(state.value.filter, name, value, "!=") })}>−</button>`}
        </span></td></tr>`;
    })}
  </tbody></table>`;
}

/** @param {{ row: Row, isThis?: boolean }} props */
function Neighbour({ row, isThis = false }) {
  if (row.reason !== undefined) {
    return html`<li class="tone-error" title=${row.reason}><b>dead letter</b> ${String(row.raw).slice(0, 500)}</li>`;
  }
  if (row.raw !== undefined) {
    return html`<li class="tone-plain" title="Not stored">${row.raw.slice(0, 500)}</li>`;
  }
  return html`<li class="tone-${tone(row)}" aria-current=${isThis ? "true" : undefined}>
    ${isThis ? text(row) : html`<button class="plain" onClick=${() => go({ row: placeOf(row) }, true)}>${text(row)}</button>`}</li>`;
}
