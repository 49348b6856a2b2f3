// The console: a question in SQL, its answer as a table or a chart.

import { html } from "./html.js";
import { useEffect, useLayoutEffect, useMemo, useState } from "preact/hooks";
import { url, useAnswer } from "./ask.js";
import { Lines } from "./chart.js";
import { counted, short, toneOf, whole } from "./format.js";
import { kept, remember } from "./kept.js";
import { Panel } from "./panel.js";
import { turn } from "./range.js";
import { go, state } from "./state.js";

/** @typedef {{ name: string, type: string }} Column */
/** @typedef {{ columns: Column[], rows: any[][], is_whole: boolean, read_rows: number }} Table */

const PAST = "statements";
const UNDER_WAY = "asking"; // a statement that had no answer when the page was left
const SHOWN = 200; // rows of a table at first
const LONGEST = 300; // characters of a cell

const EXAMPLES = {
  "Rows by minute and level": "SELECT toStartOfMinute(timestamp) AS minute, level, count() AS rows\nFROM logs\nWHERE timestamp > (SELECT max(timestamp) FROM logs) - INTERVAL 1 HOUR\nGROUP BY minute, level ORDER BY minute",
  "Slowest endpoints": "SELECT endpoint, count() AS requests, round(quantile(0.99)(duration), 4) AS p99\nFROM logs WHERE status_code > 0\nGROUP BY endpoint ORDER BY p99 DESC LIMIT 20",
  "Columns": "DESCRIBE TABLE logs",
};

export function SqlView() {
  const { sql, as } = state.value;
  const [text, setText] = useState(sql);
  // A question that did not end before is not asked again by a mere reload.
  const [isHeld, setHeld] = useState(() => Boolean(sql) && sessionStorage.getItem(UNDER_WAY) === sql);
  useEffect(() => setText(sql), [sql]);
  const address = sql && !isHeld ? url("/query", { sql }) : null;
  const answer = useAnswer(address, turn.value);
  const isAsking = address !== null && answer.isLoading;
  useLayoutEffect(() => { // before anybody sees that it is asked, and may leave
    if (!isAsking) return;
    sessionStorage.setItem(UNDER_WAY, sql);
    return () => sessionStorage.removeItem(UNDER_WAY);
  }, [isAsking, sql]);
  const run = (/** @type {string} */ wanted) => {
    if (!wanted.trim()) return;
    remember(PAST, wanted);
    setHeld(false);
    if (wanted === sql) turn.value += 1;
    else go({ sql: wanted });
  };
  const past = kept(PAST);
  /** @type {Table | null} */
  const table = answer.error ? null : /** @type {any} */ (answer.data); // none of an earlier question
  const chart = useMemo(() => table && charted(table), [table]);
  const isChart = as === "chart" && chart;
  return html`<div class="stack">
    <form class="panel sql" onSubmit=${(/** @type {Event} */ event) => { event.preventDefault(); run(text); }}>
      <textarea aria-label="SQL" id="sql" spellcheck=${false} rows=${Math.max(4, Math.min(16, text.split("\n").length + 1))} value=${text}
        placeholder="SELECT level, count() FROM logs GROUP BY level"
        onInput=${(/** @type {any} */ event) => setText(event.target.value)}
        onKeyDown=${(/** @type {KeyboardEvent} */ event) => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); run(text); } }}></textarea>
      <div class="bar">
        ${isAsking ? html`<button type="button" onClick=${() => setHeld(true)}>Stop</button>` : html`<button class="main" title="Ctrl+Enter">Ask</button>`}
        ${past.length > 0 && html`<select aria-label="Asked before" value="" onChange=${(/** @type {any} */ event) => setText(event.target.value)}>
          <option value="">Asked before</option>${past.map((one) => html`<option key=${one} value=${one}>${one.slice(0, 80)}</option>`)}</select>`}
        ${Object.entries(EXAMPLES).map(([name, one]) => html`<button type="button" class="link" key=${name} onClick=${() => { setText(one); run(one); }}>${name}</button>`)}
        <span class="quiet">Nothing can be changed by it.</span>
      </div>
    </form>
    ${isHeld && html`<p class="problem" role="status">This question had no answer yet. <button class="link" onClick=${() => run(sql)}>Ask it again</button></p>`}
    ${sql && !isHeld && html`<${Panel} title="Answer" answer=${{ ...answer, data: table }} aside=${table && html`<span class="quiet">${counted(table.rows.length, "row")}${table.is_whole ? "" : ", there are more"}${table.read_rows ? `, of ${short(table.read_rows)} that were read` : ""}</span>
        ${chart && html`<span class="choose" role="group" aria-label="Shown as">${["table", "chart"].map((one) => html`<button key=${one} aria-pressed=${(isChart ? "chart" : "table") === one} onClick=${() => go({ as: one === "table" ? "" : one }, true)}>${one === "table" ? "Table" : "Chart"}</button>`)}</span>`}`}>
      ${table && (isChart ? html`<${Shown} of=${chart} />` : html`<${Rows} of=${table} key=${sql} />`)}
    <//>`}
  </div>`;
}

/** @param {{ of: Table }} props */
function Rows({ of }) {
  const [most, setMost] = useState(SHOWN);
  if (!of.rows.length) return html`<p class="empty">No rows.</p>`;
  const areNumbers = of.columns.map(({ type }) => isNumber(type));
  return html`<div class="wide" tabindex="0" role="group" aria-label="Rows of the answer"><table class="figures answer">
      <thead><tr>${of.columns.map((column, i) => html`<th key=${i} scope="col" class=${areNumbers[i] ? "" : "text"} title=${column.type}>${column.name}</th>`)}</tr></thead>
      <tbody>${of.rows.slice(0, most).map((row, i) => html`<tr key=${i}>${row.map((value, j) => html`<td key=${j} class=${areNumbers[j] ? "" : "text"}>${cell(value)}</td>`)}</tr>`)}</tbody></table></div>
    ${of.rows.length > most && html`<button onClick=${() => setMost(of.rows.length)}>All ${whole(of.rows.length)} rows</button>`}`;
}

/** @param {unknown} value */
function cell(value) {
  if (value === null || value === undefined) return html`<em class="quiet">null</em>`;
  const text = typeof value === "object" ? JSON.stringify(value) : String(value);
  return text.length > LONGEST ? `${text.slice(0, LONGEST)} …` : text;
}

const isNumber = (/** @type {string} */ type) => /^(Nullable\(|LowCardinality\()*(U?Int|Float|Decimal)/.test(type);
const isTime = (/** @type {string} */ type) => /^(Nullable\(|LowCardinality\()*Date/.test(type);
const TONES = ["info", "warn", "calm", "error", "debug", "plain"];

/**
 * An answer as lines over time, or as bars of names; null where it is neither.
 * @param {Table} table
 * @returns {any}
 */
function charted({ columns, rows }) {
  const numbers = columns.flatMap(({ type }, i) => (isNumber(type) ? [i] : []));
  const time = columns.findIndex(({ type }) => isTime(type));
  const name = columns.findIndex(({ type }, i) => i !== time && !isNumber(type));
  if (!rows.length || !numbers.length || (time < 0 && name < 0)) return null;
  if (time < 0) {
    const of = numbers[0] ?? 0;
    const found = rows.slice(0, 50).map((row) => ({ name: String(row[name]), value: Number(row[of]) }));
    return { bars: found, title: columns[of]?.name };
  }
  const times = [...new Set(rows.map((row) => seconds(row[time])))].sort((a, b) => a - b);
  const at = new Map(times.map((moment, i) => [moment, i]));
  /** @type {Map<string, (number | null)[]>} */
  const lines = new Map();
  for (const row of rows) {
    for (const i of numbers) {
      const parts = [name < 0 ? "" : String(row[name] || "none"), numbers.length > 1 || name < 0 ? columns[i]?.name : ""];
      const line = parts.filter(Boolean).join(" ");
      if (!lines.has(line)) lines.set(line, times.map(() => null));
      const values = lines.get(line);
      if (values && row[i] !== null) values[at.get(seconds(row[time])) ?? 0] = Number(row[i]);
    }
  }
  const series = [...lines].slice(0, 12).map(([line, values], i) => {
    const tone = toneOf(line);
    return { name: line, values, tone: tone === "plain" ? TONES[i % TONES.length] : tone };
  });
  return { times, series };
}

/** @param {string} time */
const seconds = (time) => Date.parse(time.length > 10 ? `${time.replace(" ", "T")}Z` : time) / 1000;

/** @param {{ of: any }} props */
function Shown({ of }) {
  if (of.times) return html`<${Lines} label="The answer over time" times=${of.times} series=${of.series} height=${300} />`;
  const most = Math.max(...of.bars.map((/** @type {any} */ bar) => Math.abs(bar.value)), Number.MIN_VALUE);
  return html`<table class="figures bars"><thead><tr><th scope="col">name</th><th scope="col">${of.title}</th><th></th></tr></thead>
    <tbody>${of.bars.map((/** @type {any} */ bar, /** @type {number} */ i) => html`<tr key=${i}><td>${bar.name || "none"}</td><td>${short(bar.value)}</td>
      <td><i class="meter" style=${{ width: `${(100 * Math.abs(bar.value)) / most}%` }}></i></td></tr>`)}</tbody></table>`;
}
