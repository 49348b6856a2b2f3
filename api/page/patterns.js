// The view of patterns: what messages are about, what of it is new, how it went on, and its rows.

import { html } from "./html.js";
import { url, useAnswer } from "./ask.js";
import { FilterBox } from "./filter.js";
import { clock, counted, whole } from "./format.js";
import { Histogram } from "./histogram.js";
import { Completeness, Panel, Problem } from "./panel.js";
import { span, spanError } from "./range.js";
import { TimePicker } from "./time.js";
import { go, state } from "./state.js";

/** @typedef {{ pattern: string, pattern_ids: string[], patterns: number, count: number, share: number, first: string, last: string, example: string }} Pattern */

export function PatternsView() {
  const { filter, only, pattern } = state.value;
  const asked = span.value;
  const isNew = only === "new";
  const answer = useAnswer(
    asked ? url("/patterns", { filter, new: isNew ? "true" : "", order: only === "rare" ? "rare" : "", limit: 200, from: asked.from, to: asked.to }) : null,
    asked?.turn,
  );
  const wrong = /^The filter is wrong/.test(answer.error?.message ?? "") ? answer.error : null;
  /** @type {any} */
  const data = answer.data;
  /** @type {Pattern[]} */
  const patterns = data?.patterns ?? [];
  const most = Math.max(...patterns.map((one) => one.count), 1);
  const open = patterns.find((one) => one.pattern_ids[0] === pattern);
  const aside = html`<label class="choose">show <select aria-label="Which patterns" value=${only} onChange=${(/** @type {any} */ event) => go({ only: event.target.value })}>
    <option value="">the most frequent</option><option value="rare">the rarest</option><option value="new">only those that are new in this range</option></select></label>`;
  return html`<div class="stack">
    <div class="bar"><${FilterBox} error=${wrong} /><${TimePicker} /></div>
    <${Problem} error=${spanError.value} />
    ${open && html`<${One} of=${open} />`}
    <${Panel} title="What messages are about" answer=${wrong ? { ...answer, error: null } : answer} aside=${aside}>
      <p class="quiet">${data && `${counted(data.found, isNew ? "new pattern" : "pattern")} in ${counted(data.total, "row")} with a message${data.unseen ? `; ${counted(data.unseen, "row")} have rarer ones` : ""}`}</p>
      <${Completeness} of=${data} />
      ${data && !patterns.length && html`<p class="empty">${isNew && data.total ? "Nothing is new: all of this was there before." : "No row of this range has a message."}</p>`}
      ${patterns.length > 0 && html`<div class="wide" tabindex="0" role="group" aria-label="Patterns"><table class="figures"><thead><tr><th scope="col" class="text">pattern</th><th scope="col">rows</th><th scope="col">share</th><th scope="col"></th><th scope="col">first</th><th scope="col">last</th></tr></thead>
        <tbody>${patterns.map((one) => html`<tr key=${one.pattern_ids[0]}>
          <td class="text"><button class="link" aria-expanded=${one === open} title=${one.example} onClick=${() => go({ pattern: one === open ? "" : one.pattern_ids[0] ?? "" }, true)}>${one.pattern}</button></td>
          <td>${whole(one.count)}</td><td>${+(100 * one.share).toPrecision(3)} %</td>
          <td><i class="meter" style=${{ width: `${Math.max(1, Math.round((60 * one.count) / most))}px` }}></i></td>
          <td>${clock(one.first, "second")}</td><td>${clock(one.last, "second")}</td></tr>`)}</tbody></table></div>`}
    <//>
  </div>`;
}

/**
 * One pattern: an example, its rows by time, and the way to them.
 * @param {{ of: Pattern }} props
 */
function One({ of }) {
  const { filter } = state.value;
  const asked = span.value;
  const these = of.pattern_ids.length > 1 ? `pattern_id in (${of.pattern_ids.join(", ")})` : `pattern_id = ${of.pattern_ids[0]}`;
  const chosen = filter ? `(${filter}) and ${these}` : these;
  const answer = useAnswer(asked && url("/logs/histogram", { filter: chosen, from: asked.from, to: asked.to }), asked?.turn);
  const aside = html`<span class="choose"><button class="link" onClick=${() => go({ view: "logs", filter: chosen, row: "" })}>Rows</button>
    <button class="link" onClick=${() => go({ view: "explain", filter: chosen })}>Explain</button>
    <button class="link" onClick=${() => go({ pattern: "" }, true)}>Close</button></span>`;
  return html`<${Panel} title=${of.pattern} answer=${answer} aside=${aside}>
    ${of.patterns > of.pattern_ids.length && html`<p class="quiet">The bars and rows are those of ${whole(of.pattern_ids.length)} of its ${whole(of.patterns)} patterns, the most frequent ones.</p>`}
    ${answer.data && html`<${Histogram} answer=${answer.data} onBrush=${(/** @type {string} */ from, /** @type {string} */ to) => go({ from, to, live: "" })} />`}
    <p class="quiet">such as: ${of.example}</p><//>`;
}
