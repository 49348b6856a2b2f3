// The view of rows: filter, histogram, facets, list, one row.

import { html } from "./html.js";
import { useEffect, useMemo, useState } from "preact/hooks";
import { isAsking, url, useAnswer } from "./ask.js";
import { Detail } from "./detail.js";
import { FilterBox, columns, values } from "./filter.js";
import { attribute, attributes, counted, narrowed, short } from "./format.js";
import { Histogram, Legend } from "./histogram.js";
import { List } from "./list.js";
import { Completeness, Panel, Problem } from "./panel.js";
import { span, spanError, turn } from "./range.js";
import { Rows, placeOf } from "./rows.js";
import { TimePicker } from "./time.js";
import { address, go, state } from "./state.js";

/** The list that is shown, for the keys. @type {{ now: Rows | null }} */
export const shown = { now: null };

export function LogsView() {
  const { filter, live } = state.value;
  const [isByStatus, setByStatus] = useState(false);
  const by = state.value.by || (isByStatus ? "status_class" : "level");
  const asked = span.value;
  const question = asked && { filter, from: asked.from, to: asked.to };
  const again = live ? 0 : asked?.turn;
  const key = JSON.stringify(live ? { filter } : { ...question, again });
  const list = useMemo(
    () => (question ? new Rows(live ? { filter, from: "", to: "" } : question, Boolean(live), shown.now?.rows.value ?? []) : null),
    [key, live, Boolean(question)],
  );
  useEffect(() => {
    shown.now = list;
    return () => list?.end();
  }, [list]);
  useEffect(() => {
    if (!live) return;
    const timer = setInterval(() => {
      if (!document.hidden && !isAsking()) turn.value += 1;
    }, 2000);
    return () => clearInterval(timer);
  }, [live]);

  const histogram = useAnswer(question && url("/logs/histogram", { ...question, by }), again);
  const facets = useAnswer(question && url("/logs/facets", { ...question }), again);
  useEffect(() => {
    /** @type {import("./histogram.js").Bucket[]} */
    const buckets = histogram.data?.buckets ?? [];
    const hasNoLevels = buckets.length > 0 && buckets.every(({ counts }) => Object.keys(counts).join() === "");
    if (by === "level" && hasNoLevels) setByStatus(true); // as in the log of a web server
  }, [histogram.data]);
  const isWrongFilter = (/** @type {any} */ error) => error?.status === 422 && /^The filter is wrong/.test(error.message);
  const wrong = [list?.error.value, histogram.error].find(isWrongFilter) ?? null;
  const rows = list?.rows.value ?? [];
  useEffect(() => {
    const row = rows[0];
    const keys = new Set(rows.slice(0, 50).flatMap(attributes).map(([key]) => attribute(key)));
    if (row) columns.value = [...Object.keys(row).filter((name) => name !== "cut"), ...keys];
  }, [rows[0]]);
  const open = state.value.row;
  const hide = (/** @type {any} */ answer) => (isWrongFilter(answer.error) ? { ...answer, error: null } : answer);

  return html`<div class="logs">
    <div class="bar">
      <${FilterBox} error=${wrong} />
      <${TimePicker} />
      <button aria-pressed=${Boolean(live)} class="live" onClick=${() => go({ live: live ? "" : "1", ...(live ? {} : { from: "", to: "" }) })} title="Live (t)">${live ? "Pause" : "Live"}</button>
      <${Export} question=${question} />
    </div>
    <${Problem} error=${spanError.value} />
    <${Panel} title="Rows by time" class="histogram" answer=${hide(histogram)} aside=${html`<${Legend} answer=${histogram.data} by=${by} onChoose=${go} onBy=${(/** @type {string} */ by) => go({ by })} />`}>
      ${histogram.data && html`<${Histogram} answer=${histogram.data} onBrush=${(/** @type {string} */ from, /** @type {string} */ to) => go({ from, to, live: "" })} /><${Completeness} of=${histogram.data} />`}
    <//>
    <div class=${`columns ${open ? "with-detail" : ""}`}>
      <${FacetsPanel} answer=${hide(facets)} />
      <section class="panel rows" aria-label="Rows">
        <${Problem} error=${wrong ? null : list?.error.value ?? null} />
        ${list && html`<${List} list=${list} />`}
      </section>
      ${open && html`<${Detail} known=${rows.find((row) => placeOf(row) === open)} />`}
    </div>
  </div>`;
}

/** @param {{ answer: import("./ask.js").Answer<any> }} props */
function FacetsPanel({ answer }) {
  const [isOpen, setOpen] = useState(!matchMedia("(max-width: 900px)").matches);
  /** @type {[string, { values: { value: any, count: number }[], others: number }][]} */
  const all = Object.entries(answer.data?.facets ?? {});
  const facets = all.filter(([, facet]) => facet.values.some(({ value }) => value !== "" && value !== null && value !== 0));
  useEffect(() => {
    values.value = Object.fromEntries(facets.map(([name, facet]) => [name, facet.values.map(({ value }) => String(value))]));
  }, [answer.data]);
  const total = answer.data?.total ?? 0;
  return html`<${Panel} title="Values" class=${`facets ${isOpen ? "" : "closed"}`} answer=${answer}
      aside=${html`<button class="fold" aria-expanded=${isOpen} onClick=${() => setOpen(!isOpen)}>${isOpen ? "Hide" : "Show"}</button>`}>
    ${isOpen && facets.map(([name, facet]) => html`<div class="facet" key=${name}><h3>${name}</h3>
      <ul>${facet.values.slice(0, 8).map(({ value, count }) => html`<li key=${String(value)}>
        <button class="value" title=${`Only ${name} = ${value}`} onClick=${() => go({ filter: narrowed(state.value.filter, name, value) })}>
          <span class=${name === "source" ? "path" : ""}><bdi>${value === "" || value === null ? "none" : String(value)}</bdi></span><small>${short(count)}</small>
          <i style=${{ width: `${(100 * count) / Math.max(1, total)}%` }}></i></button>
        <button class="not" title=${`Without ${name} = ${value}`} aria-label=${`Without ${name} = ${value}`} onClick=${() => go({ filter: narrowed(state.value.filter, name, value, "!=") })}>−</button>
      </li>`)}</ul>
      ${facet.others > 0 && html`<p class="quiet">${counted(facet.others, "row")} with others</p>`}</div>`)}
    ${isOpen && answer.data && !facets.length && html`<p class="quiet">Nothing to count.</p>`}
  <//>`;
}

/** @param {{ question: any }} props */
function Export({ question }) {
  if (!question) return null;
  return html`<details class="menu" name="menu"><summary>More</summary><div>
    <a href=${address({ view: "explain" })} onClick=${(/** @type {Event} */ event) => { event.preventDefault(); go({ view: "explain" }); }}>Explain these rows</a>
    ${["csv", "ndjson", "arrow"].map((format) => html`<a key=${format} href=${url("/logs/export", { ...question, format })} download>Export as ${format}</a>`)}
  </div></details>`;
}
