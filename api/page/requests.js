// The view of requests: how many, how well, how fast, and whose.

import { html } from "htm/preact";
import { useMemo } from "preact/hooks";
import { url, useAnswer } from "./ask.js";
import { Bars } from "./chart.js";
import { duration, narrowed, whole } from "./format.js";
import { Histogram, Legend } from "./histogram.js";
import { Panel } from "./panel.js";
import { turn } from "./range.js";
import { go, state } from "./state.js";

const DAYS = { 1: "Today", 7: "Last 7 days", 30: "Last 30 days", 365: "Last year", "": "All days" };
const ORDERS = { requests: "most requests", errors: "most errors", latency: "slowest" };

/** @typedef {Record<string, any>} Figures */

export function RequestsView() {
  const { days, order, customer } = state.value;
  const again = turn.value;
  const now = useMemo(() => Date.now(), [days, again]);
  const from_date = days && new Date(now - (Number(days) - 1) * 86_400_000).toISOString().slice(0, 10);
  const stats = useAnswer(url("/stats", { from_date }), again);
  const endpoints = useAnswer(url("/endpoints", { from_date, order }), again);
  const customers = useAnswer(url("/customers", { from_date, order }), again);
  const requests = { filter: "status_code > 0", by: "status_class", from: `${from_date}T00:00:00Z`, to: new Date(now + 1000).toISOString() };
  const byTime = useAnswer(days ? url("/logs/histogram", requests) : null, again);
  const open = (/** @type {Partial<import("./state.js").State>} */ changes) =>
    go({ view: "logs", row: "", live: "", by: "status_class", filter: requests.filter, from: requests.from, to: requests.to, ...changes });
  const choose = html`<label class="choose">first the <select aria-label="Order" value=${order} onChange=${(/** @type {any} */ event) => go({ order: event.target.value })}>
    ${Object.entries(ORDERS).map(([value, name]) => html`<option key=${value} value=${value}>${name}</option>`)}</select></label>`;
  return html`<div class="stack">
    <div class="bar"><select aria-label="Days" value=${days} onChange=${(/** @type {any} */ event) => go({ days: event.target.value })}>
        ${Object.entries(DAYS).reverse().map(([value, name]) => html`<option key=${value} value=${value}>${name}</option>`)}</select>
      <button onClick=${() => (turn.value += 1)} title="Ask again (r)" aria-label="Ask again">↻</button>
      <span class="quiet">Whole UTC days; requests are the rows with a status.</span></div>
    <${Panel} title="All requests" answer=${stats}><${Summary} of=${stats.data} />${!days && html`<${Days} of=${stats.data} />`}<//>
    ${days && html`<${Panel} title="Requests by time" answer=${byTime} aside=${html`<${Legend} answer=${byTime.data} by="status_class" onChoose=${open} />`}>
      ${byTime.data && html`<${Histogram} answer=${byTime.data} onBrush=${(/** @type {string} */ from, /** @type {string} */ to) => open({ from, to })} />`}<//>`}
    <div class="side">
      <${Panel} title="Endpoints" answer=${endpoints} aside=${choose}>
        <${Ranking} rows=${endpoints.data?.endpoints ?? []} name=${(/** @type {Figures} */ one) => `${one.method} ${one.endpoint}`.trim()}
          open=${(/** @type {Figures} */ one) => go({ view: "logs", filter: narrowed("", "endpoint", one.endpoint), row: "" })} /><//>
      <${Panel} title="Customers" answer=${customers} aside=${choose}>
        <${Ranking} rows=${customers.data?.customers ?? []} name=${(/** @type {Figures} */ one) => one.customer_id} open=${(/** @type {Figures} */ one) => go({ customer: one.customer_id })} /><//>
    </div>
    ${customer && html`<${Customer} id=${customer} from_date=${from_date} />`}
  </div>`;
}

/** @param {{ id: string, from_date: string }} props */
function Customer({ id, from_date }) {
  const answer = useAnswer(url(`/customers/${encodeURIComponent(id)}/stats`, { from_date, interval: "hour" }), turn.value);
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
