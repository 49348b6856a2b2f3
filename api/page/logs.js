// The view of rows: filter, histogram, facets, list, one row.

import { html } from "htm/preact";
import { useEffect, useMemo, useState } from "preact/hooks";
import { url, useAnswer } from "./ask.js";
import { Bars } from "./chart.js";
import { Detail } from "./detail.js";
import { FilterBox, columns, values } from "./filter.js";
import { counted, narrowed, short, toneOf, whole } from "./format.js";
import { List } from "./list.js";
import { Completeness, Panel, Problem } from "./panel.js";
import { span, spanError, turn } from "./range.js";
import { Rows, placeOf } from "./rows.js";
import { TimePicker } from "./time.js";
import { address, go, state } from "./state.js";

/** @typedef {{ start: string, counts: Record<string, number> }} Bucket */

/** The list that is shown, for the keys. @type {{ now: Rows | null }} */
export const shown = { now: null };

export function LogsView() {
  const { filter, by, live } = state.value;
  const asked = span.value;
  const question = asked && { filter, from: asked.from, to: asked.to };
  const again = live ? 0 : asked?.turn;
  const key = JSON.stringify(live ? { filter } : { ...question, again });
  const list = useMemo(
    () => (question ? new Rows(live ? { filter, from: "", to: "" } : question, Boolean(live)) : null),
    [key, live, Boolean(question)],
  );
  useEffect(() => {
    shown.now = list;
    return () => list?.end();
  }, [list]);
  useEffect(() => {
    if (!live) return;
    const timer = setInterval(() => {
      if (!document.hidden) turn.value += 1;
    }, 2000);
    return () => clearInterval(timer);
  }, [live]);

  const histogram = useAnswer(question && url("/logs/histogram", { ...question, by }), again);
  const facets = useAnswer(question && url("/logs/facets", { ...question }), again);
  const isWrongFilter = (/** @type {any} */ error) => error?.status === 422 && /^The filter is wrong/.test(error.message);
  const wrong = [list?.error.value, histogram.error].find(isWrongFilter) ?? null;
  const rows = list?.rows.value ?? [];
  useEffect(() => {
    const row = rows[0];
    if (row) columns.value = Object.keys(row).filter((name) => name !== "cut");
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
    ${list && live && html`<p class="note tail" role="status">${list.note.value}</p>`}
    <${Panel} title="Rows by time" class="histogram" answer=${hide(histogram)} aside=${html`<${Legend} answer=${histogram.data} by=${by} />`}>
      ${histogram.data && html`<${Histogram} answer=${histogram.data} /><${Completeness} of=${histogram.data} />`}
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

/** @param {{ answer: any }} props */
function Histogram({ answer }) {
  const data = useMemo(() => {
    const width = answer.width;
    const begin = Math.floor(Date.parse(answer.from) / 1000 / width) * width;
    const end = Date.parse(answer.to) / 1000;
    /** @type {number[]} */
    const times = [];
    for (let time = begin; time < end && times.length < 200; time += width) times.push(time);
    const at = new Map(times.map((time, i) => [Math.round(time * 1000), i]));
    const names = namesOf(answer);
    const series = names.map((name) => ({ name: name || "none", tone: toneOf(name), values: times.map(() => 0) }));
    for (const bucket of /** @type {Bucket[]} */ (answer.buckets)) {
      const i = at.get(Date.parse(bucket.start));
      if (i === undefined) continue;
      names.forEach((name, j) => {
        const one = series[j];
        if (one) one.values[i] = bucket.counts[name] ?? 0;
      });
    }
    return { times, series, width };
  }, [answer]);
  const brush = (/** @type {number} */ from, /** @type {number} */ to) =>
    go({ from: new Date(from * 1000).toISOString(), to: new Date(to * 1000).toISOString(), live: "" });
  return html`<${Bars} label="Rows by time" ...${data} from=${Date.parse(answer.from) / 1000} to=${Date.parse(answer.to) / 1000} onBrush=${brush} height=${120} />`;
}

const ORDER = ["debug", "plain", "calm", "info", "warn", "error"];

/** Values of a histogram, the gravest last: it is on top. @param {any} answer @returns {string[]} */
function namesOf(answer) {
  /** @type {Set<string>} */
  const names = new Set(answer.buckets.flatMap((/** @type {Bucket} */ bucket) => Object.keys(bucket.counts)));
  return [...names].sort((a, b) => ORDER.indexOf(toneOf(a)) - ORDER.indexOf(toneOf(b)) || (a < b ? -1 : 1));
}

/** @param {{ answer: any, by: string }} props */
function Legend({ answer, by }) {
  const names = answer ? namesOf(answer).reverse() : [];
  const count = (/** @type {string} */ name) => answer.buckets.reduce((/** @type {number} */ sum, /** @type {Bucket} */ bucket) => sum + (bucket.counts[name] ?? 0), 0);
  return html`<span class="legend">
    ${answer && html`<b>${counted(answer.total, "row")}</b>`}
    ${names.slice(0, 8).map((name) => html`<button key=${name} class="tone-${toneOf(name)}" title=${`Only ${by} = ${name || '""'}`}
      onClick=${() => go({ filter: narrowed(state.value.filter, by, name) })}><i></i>${name || "none"} <small>${short(count(name))}</small></button>`)}
    <label>by <select aria-label="Coloured by" value=${by} onChange=${(/** @type {any} */ event) => go({ by: event.target.value })}>
      <option value="level">level</option><option value="status_class">status</option></select></label>
  </span>`;
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
          <span>${value === "" || value === null ? "none" : String(value)}</span><small>${short(count)}</small>
          <i style=${{ width: `${(100 * count) / Math.max(1, total)}%` }}></i></button>
        <button class="not" title=${`Without ${name} = ${value}`} aria-label=${`Without ${name} = ${value}`} onClick=${() => go({ filter: narrowed(state.value.filter, name, value, "!=") })}>−</button>
      </li>`)}</ul>
      ${facet.others > 0 && html`<p class="quiet">${whole(facet.others)} others</p>`}</div>`)}
    ${isOpen && answer.data && !facets.length && html`<p class="quiet">Nothing to count.</p>`}
  <//>`;
}

/** @param {{ question: any }} props */
function Export({ question }) {
  if (!question) return null;
  return html`<details class="menu"><summary>More</summary><div>
    <a href=${address({ view: "explain" })} onClick=${(/** @type {Event} */ event) => { event.preventDefault(); go({ view: "explain" }); }}>Explain these rows</a>
    ${["csv", "ndjson", "arrow"].map((format) => html`<a key=${format} href=${url("/logs/export", { ...question, format })} download>Export as ${format}</a>`)}
  </div></details>`;
}
