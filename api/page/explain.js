// What the rows of a filter have more of than others.

import { html } from "./html.js";
import { url, useAnswer } from "./ask.js";
import { FilterBox } from "./filter.js";
import { counted, narrowed, whole } from "./format.js";
import { Completeness, Panel, Problem } from "./panel.js";
import { span, spanError } from "./range.js";
import { TimePicker } from "./time.js";
import { go, state } from "./state.js";

/** @typedef {{ field: string, value: any, selected: number, baseline: number, lift: number | null, score: number }} Finding */

export function ExplainView() {
  const { filter, baseline } = state.value;
  const asked = span.value;
  const answer = useAnswer(
    filter && asked ? url("/explain", { filter, baseline, from: asked.from, to: asked.to }) : null,
    asked?.turn,
  );
  const wrong = /^The filter is wrong/.test(answer.error?.message ?? "") ? answer.error : null;
  const wrongBaseline = /^baseline: /.test(answer.error?.message ?? "") ? answer.error : null;
  /** @type {any} */
  const data = answer.data;
  /** @type {Finding[]} */
  const findings = data?.findings ?? [];
  const most = Math.max(...findings.map((one) => one.score), Number.MIN_VALUE);
  return html`<div class="stack">
    <div class="bar"><b>These rows</b><${FilterBox} error=${wrong} label="These rows" /><${TimePicker} /></div>
    <div class="bar"><b>compared with</b><${FilterBox} error=${wrongBaseline} name="baseline" label="Compared with" /></div>
    <${Problem} error=${spanError.value} />
    ${filter
      ? html`<${Panel} title="What these rows have more of" answer=${wrong || wrongBaseline ? { ...answer, error: null } : answer} aside=${data && html`<span class="quiet">${counted(data.selected, "row")} compared with ${whole(data.baseline)}</span>`}>
          <${Completeness} of=${data} />
          ${data && !findings.length && html`<p class="empty">${data.selected ? "Nothing stands out: these rows are like the others." : "There are no such rows: widen the time range, or take something out of the filter."}</p>`}
          ${findings.length > 0 && html`<div class="wide" tabindex="0" role="group" aria-label="Findings"><table class="figures"><thead><tr><th scope="col">field</th><th scope="col" class="text">value</th><th scope="col">of these</th><th scope="col">of the others</th><th scope="col">times as often</th><th scope="col">weight</th></tr></thead>
            <tbody>${findings.map((one) => html`<tr key=${`${one.field} ${one.value}`}><td>${one.field}</td>
              <td class="text"><button class="link" title="Only these rows" onClick=${() => go({ view: "logs", filter: narrowed(filter, one.field, one.value) })}>${String(one.value) || "none"}</button></td>
              <td>${share(one.selected, data.selected)}</td><td>${share(one.baseline, data.baseline)}</td>
              <td>${one.baseline && typeof one.lift === "number" ? `${+one.lift.toPrecision(2)} ×` : "only here"}</td>
              <td><i class="meter" style=${{ width: `${Math.round((60 * one.score) / most)}px` }}></i></td></tr>`)}</tbody></table></div>`}
        <//>`
      : html`<p class="empty">Say which rows are to be explained, such as <button class="link" onClick=${() => go({ filter: "status_code >= 500" })}>status_code ${">="} 500</button>
          ${" or "}<button class="link" onClick=${() => go({ filter: "severity >= error" })}>severity ${">="} error</button>. They are compared with all others of the range.</p>`}
  </div>`;
}

/** @param {number} part @param {number} all */
const share = (part, all) => (all ? `${+((100 * part) / all).toPrecision(3)} %` : "–");
