// The view of requests: how many, how well, how fast, and whose.

import { html } from "htm/preact";
import { useMemo } from "preact/hooks";
import { url, useAnswer } from "./ask.js";
import { Bars, Lines } from "./chart.js";
import { duration, narrowed, short, toneOf, whole } from "./format.js";
import { Histogram, Legend, brushed, edges, grid } from "./histogram.js";
import { Panel } from "./panel.js";
import { before, turn } from "./range.js";
import { go, state } from "./state.js";

const DAYS = { 1: "Today", 7: "Last 7 days", 30: "Last 30 days", 365: "Last year", "": "All days" };
const ORDERS = { requests: "most requests", errors: "most errors", latency: "slowest" };

/** @typedef {Record<string, any>} Figures */

export function RequestsView() {
  const { days, order, customer } = state.value;
  const again = turn.value;
  // The days end at the newest row, so that a log of last year is seen at once, too.
  const newest = useAnswer(url("/logs", { limit: 1 }), again);
  const end = /** @type {any} */ (newest.data)?.to ?? (newest.error ? new Date().toISOString() : null);
  const to_date = end?.slice(0, 10) ?? "";
  const from_date = end && days ? before(end, (Number(days) - 1) * 86_400).slice(0, 10) : "";
  const hasRows = newest.error?.status !== 501;
  /** @type {Record<string, string>} */
  const range = days ? { from_date, to_date } : {};
  /** @param {string} path @param {Record<string, string>} more */
  const when = (path, more) => (end ? url(path, more) : null);
  const stats = useAnswer(when("/stats", range), again);
  const first = from_date || /** @type {any} */ (stats.data)?.daily?.[0]?.date;
  const requests = { filter: "status_code > 0", from: `${first}T00:00:00Z`, to: end };
  /** @param {string} path @param {Record<string, string>} more */
  const asked = (path, more) => (end && first && hasRows ? url(path, { ...requests, ...more }) : null);
  const byTime = useAnswer(asked("/logs/histogram", { by: "status_class" }), again);
  const figures = useAnswer(asked("/logs/requests", {}), again);
  const codes = useAnswer(asked("/logs/facets", { columns: "status_code", limit: "12" }), again);
  const endpoints = useAnswer(when("/endpoints", { ...range, order }), again);
  const customers = useAnswer(when("/customers", { ...range, order }), again);
  const open = (/** @type {Partial<import("./state.js").State>} */ changes) =>
    go({ view: "logs", row: "", live: "", by: "status_class", filter: requests.filter, from: requests.from, to: requests.to, ...changes });
  const brush = (/** @type {string} */ from, /** @type {string} */ to) => open({ from, to });
  const choose = html`<label class="choose">first the <select aria-label="Order" value=${order} onChange=${(/** @type {any} */ event) => go({ order: event.target.value })}>
    ${Object.entries(ORDERS).map(([value, name]) => html`<option key=${value} value=${value}>${name}</option>`)}</select></label>`;
  return html`<div class="stack">
    <div class="bar"><select aria-label="Days" value=${days} onChange=${(/** @type {any} */ event) => go({ days: event.target.value })}>
        ${Object.entries(DAYS).reverse().map(([value, name]) => html`<option key=${value} value=${value}>${name}</option>`)}</select>
      <button onClick=${() => (turn.value += 1)} title="Ask again (r)" aria-label="Ask again">↻</button>
      <span class="quiet">${first && end ? `${first} – ${to_date}: whole` : "Whole"} UTC days; requests are the rows with a status.</span></div>
    <${Panel} title="All requests" answer=${stats}><${Summary} of=${stats.data} />${!hasRows && html`<${Days} of=${stats.data} />`}<//>
    ${hasRows && html`<${Panel} title="By status" answer=${byTime} aside=${html`<${Legend} answer=${byTime.data} by="status_class" onChoose=${open} />`}>
      ${byTime.data && html`<${Histogram} answer=${byTime.data} onBrush=${brush} />`}<//>
    <div class="side">
      <${Panel} title="Requests and failures each second" answer=${figures}><${Rate} of=${figures.data} onBrush=${brush} /><//>
      <${Panel} title="Latency" answer=${figures} aside=${/** @type {any} */ (figures.data)?.estimated && html`<span class="quiet">percentiles are estimates</span>`}><${Latency} of=${figures.data} onBrush=${brush} /><//>
    </div>`}
    <div class="side">
      <${Panel} title="Endpoints" answer=${endpoints} aside=${choose}>
        <${Ranking} rows=${endpoints.data?.endpoints ?? []} name=${(/** @type {Figures} */ one) => `${one.method} ${one.endpoint}`.trim()}
          open=${(/** @type {Figures} */ one) => open({ filter: narrowed(requests.filter, "endpoint", one.endpoint) })} /><//>
      <${Panel} title="Customers" answer=${customers} aside=${choose}>
        <${Ranking} rows=${customers.data?.customers ?? []} name=${(/** @type {Figures} */ one) => one.customer_id} open=${(/** @type {Figures} */ one) => go({ customer: one.customer_id })} /><//>
    </div>
    ${customer && html`<${Customer} id=${customer} range=${range} />`}
    ${hasRows && html`<${Panel} title="Status codes" answer=${codes}><${Codes} of=${codes.data} open=${(/** @type {number} */ code) => open({ filter: `status_code = ${code}` })} /><//>`}
  </div>`;
}

/** @typedef {{ of: any, onBrush: (from: string, to: string) => void }} ByTime */

/** @param {ByTime} props */
function Rate({ of, onBrush }) {
  const data = useMemo(() => {
    if (!of) return null;
    const { times, at } = grid(of);
    const [all, failed] = [times.map(() => 0), times.map(() => 0)];
    for (const bucket of of.buckets) {
      const i = at(bucket) ?? 0;
      all[i] = bucket.total_requests / of.width;
      failed[i] = bucket.failed_requests / of.width;
    }
    return { times, series: [{ name: "requests/s", tone: "info", values: all }, { name: "failed/s", tone: "error", values: failed }] };
  }, [of]);
  return data && html`<${Lines} label="Requests and failures each second" ...${data} ...${edges(of)} unit=${each} onBrush=${brushed(onBrush)} height=${170} />`;
}

/** @param {number} value */
const each = (value) => (value >= 1000 ? short(value) : String(+value.toPrecision(2)));

/** @param {ByTime} props */
function Latency({ of, onBrush }) {
  const data = useMemo(() => {
    if (!of) return null;
    const { times, at } = grid(of);
    const line = (/** @type {string} */ name, /** @type {string} */ tone, /** @type {string} */ field) => {
      const values = times.map(() => /** @type {number | null} */ (null));
      for (const bucket of of.buckets) values[at(bucket) ?? 0] = bucket[field];
      return { name, tone, values };
    };
    return { times, series: [line("p99", "error", "p99_latency"), line("p95", "warn", "p95_latency"), line("p50", "calm", "median_latency")] };
  }, [of]);
  return data && html`<${Lines} label="Latency" ...${data} ...${edges(of)} unit=${duration} onBrush=${brushed(onBrush)} height=${170} />`;
}

/** @param {{ of: any, open: (code: number) => void }} props */
function Codes({ of, open }) {
  if (!of) return null;
  /** @type {{ value: number, count: number }[]} */
  const codes = of.facets.status_code.values;
  if (!codes.length) return html`<p class="quiet">No requests on these days.</p>`;
  return html`<table class="figures bars"><thead><tr><th scope="col">status</th><th scope="col">requests</th><th scope="col">share</th><td></td></tr></thead>
    <tbody>${codes.map(({ value, count }) => html`<tr key=${value}><td><button class="link" onClick=${() => open(value)}>${value}</button></td><td>${whole(count)}</td>
      <td>${+((100 * count) / of.total).toPrecision(3)} %</td><td><i class="meter tone-${toneOf(`${String(value)[0]}xx`)}" style=${{ width: `${(100 * count) / of.total}%` }}></i></td></tr>`)}</tbody></table>`;
}

/** @param {{ id: string, range: Record<string, string> }} props */
function Customer({ id, range }) {
  const answer = useAnswer(url(`/customers/${encodeURIComponent(id)}/stats`, { ...range, interval: "hour" }), turn.value);
  const aside = html`<span class="choose"><button class="link" onClick=${() => go({ view: "logs", filter: narrowed("", "customer_id", id), customer: "", row: "" })}>Rows</button>
    <button class="link" onClick=${() => go({ customer: "" })}>Close</button></span>`;
  return html`<${Panel} title=${`Customer ${id}`} answer=${answer} aside=${aside}><${Summary} of=${answer.data} /><${Days} of=${answer.data} /><//>`;
}

/** @param {{ of: Figures | null }} props */
function Summary({ of }) {
  if (!of) return null;
  const about = of.estimated ? "about " : "";
  /** @type {[string, string][]} */
  const shown = [
    ["requests", whole(of.total_requests)],
    ["failed", whole(of.failed_requests)],
    ["uptime", of.uptime === null ? "–" : `${of.uptime.toFixed(of.uptime > 99 && of.uptime < 100 ? 3 : 1)} %`],
    ["median", about + duration(of.median_latency)],
    ["p99", about + duration(of.p99_latency)],
  ];
  return html`<div class="cards">${shown.map(([name, value]) => html`<div class="card" key=${name}><b>${value}</b><span>${name}</span></div>`)}</div>`;
}

/** Requests by day or hour. @param {{ of: Figures | null }} props */
function Days({ of }) {
  const data = useMemo(() => {
    const width = of?.hourly ? 3600 : 86_400;
    /** @type {Figures[]} */
    const found = of?.hourly ?? of?.daily ?? [];
    const begin = Date.parse(found[0]?.hour ?? found[0]?.date ?? 0) / 1000;
    const last = found[found.length - 1];
    const end = Date.parse(last?.hour ?? last?.date ?? 0) / 1000;
    /** @type {number[]} */
    const times = [];
    for (let time = begin; time <= end && times.length < 5000; time += width) times.push(time);
    const at = new Map(found.map((one) => [Date.parse(one.hour ?? one.date) / 1000, one]));
    const series = [
      { name: "successful", tone: "info", values: times.map((time) => at.get(time)?.successful_requests ?? 0) },
      { name: "failed", tone: "error", values: times.map((time) => at.get(time)?.failed_requests ?? 0) },
    ];
    return { times, series, width };
  }, [of]);
  if (!of || data.times.length < 2) return null; // one bar says nothing that the figures do not
  return html`<${Bars} label=${of.hourly ? "Requests by hour" : "Requests by day"} ...${data} height=${150} />`;
}

/** @param {{ rows: Figures[], name: (row: Figures) => string, open: (row: Figures) => void }} props */
function Ranking({ rows, name, open }) {
  if (!rows.length) return html`<p class="quiet">No requests on these days.</p>`;
  return html`<div class="wide" tabindex="0" role="group" aria-label="Figures"><table class="figures"><thead><tr><th scope="col"></th><th scope="col">requests</th><th scope="col">errors</th><th scope="col">mean</th><th scope="col">p99</th></tr></thead>
    <tbody>${rows.map((row) => html`<tr key=${name(row)}><td title=${name(row)}><button class="link" onClick=${() => open(row)}>${name(row) || "none"}</button></td>
      <td>${whole(row.total_requests)}</td><td class=${row.error_rate >= 1 ? "bad" : ""}>${row.error_rate.toFixed(1)} %</td>
      <td>${duration(row.average_latency)}</td><td>${duration(row.p99_latency)}</td></tr>`)}</tbody></table></div>`;
}
