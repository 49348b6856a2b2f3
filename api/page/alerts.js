// Alerts: what is looked for, how it is, and what it has changed to.

import { html } from "htm/preact";
import { useEffect, useMemo, useState } from "preact/hooks";
import { Refusal, ask, url, useAnswer } from "./ask.js";
import { Bars } from "./chart.js";
import { FilterBox } from "./filter.js";
import { clock, counted, whole } from "./format.js";
import { Panel, Problem } from "./panel.js";
import { before, turn } from "./range.js";
import { go, state } from "./state.js";

const WINDOWS = { "1m": 60, "5m": 300, "15m": 900, "1h": 3600, "6h": 21600, "1d": 86400 };
const SHOWN = 20; // windows that the preview shows; each is some buckets of the histogram
const TONES = /** @type {Record<string, string>} */ ({ firing: "error", resolved: "calm", ok: "info" });

/** @typedef {{ name: string, filter: string, window: string, when: string, threshold: number }} Wanted */
/** @typedef {Wanted & { id: number, webhook: string, state: string, since: string | null, count: number | null, seen_to: string | null, problem: string }} Alert */

export function AlertsView() {
  const [looks, setLooks] = useState(0);
  const lookAgain = () => setLooks((number) => number + 1);
  useEffect(() => {
    const timer = setInterval(() => document.hidden || lookAgain(), 5000);
    return () => clearInterval(timer);
  }, []);
  const again = `${turn.value} ${looks}`;
  const alerts = useAnswer("/alerts", again);
  const history = useAnswer("/alerts/history", again);
  const [error, setError] = useState(/** @type {Refusal | null} */ (null));
  const change = (/** @type {string} */ method, /** @type {string} */ path, /** @type {object} */ body) =>
    ask(path, undefined, { method, body: JSON.stringify(body), headers: { "Content-Type": "application/json" } }).then(
      () => { setError(null); lookAgain(); return true; },
      (refusal) => { setError(refusal); return false; },
    );
  return html`<div class="stack">
    <${NewAlert} add=${(/** @type {object} */ wanted) => change("POST", "/alerts", wanted)} error=${error} />
    <${Panel} title="Alerts" answer=${alerts}><${List} alerts=${alerts.data?.alerts ?? []} remove=${(/** @type {Alert} */ one) => change("DELETE", `/alerts/${one.id}`, {})} /><//>
    <${Panel} title="History" answer=${history}><${History} changes=${history.data?.changes ?? []} alerts=${alerts.data?.alerts ?? []} /><//>
  </div>`;
}

/** @param {{ add: (wanted: object) => Promise<boolean>, error: Refusal | null }} props */
function NewAlert({ add, error }) {
  const { filter } = state.value;
  const [name, setName] = useState("");
  const [length, setLength] = useState("5m");
  const [when, setWhen] = useState("above");
  const [threshold, setThreshold] = useState(10);
  const [webhook, setWebhook] = useState("");
  const value = (/** @type {(text: string) => void} */ set) => (/** @type {any} */ event) => set(event.target.value);
  const submit = async (/** @type {Event} */ event) => {
    event.preventDefault();
    if (await add({ name, filter, window: length, when, threshold, webhook })) setName("");
  };
  const preview = usePreview(filter, length);
  const wrong = preview.error?.status === 422 ? preview.error : null;
  return html`<section class="panel" aria-label="New alert"><header><h2>New alert</h2></header>
    <div class="bar"><b>These rows</b><${FilterBox} error=${wrong} label="These rows" /></div>
    <form class="bar alert" onSubmit=${submit}>
      <label>Fires while there are <select aria-label="More or fewer" value=${when} onChange=${value(setWhen)}><option value="above">more</option><option value="below">fewer</option></select></label>
      <label>than <input type="number" min=${when === "below" ? 1 : 0} required value=${threshold} onInput=${(/** @type {any} */ event) => setThreshold(Number(event.target.value))} /></label>
      <label>in <select aria-label="Window" value=${length} onChange=${value(setLength)}>${Object.keys(WINDOWS).map((one) => html`<option key=${one}>${one}</option>`)}</select></label>
      <label class="grows">Name <input required maxlength="200" value=${name} onInput=${value(setName)} /></label>
      <label class="grows">Webhook <input type="url" placeholder="none" value=${webhook} onInput=${value(setWebhook)} /></label>
      <button>Add</button>
    </form>
    <${Problem} error=${error} />
    <${Preview} answer=${preview} length=${length} when=${when} threshold=${threshold} /></section>`;
}

/**
 * The rows of the last windows by time, before the newest row.
 * @param {string} filter
 * @param {string} length
 */
function usePreview(filter, length) {
  const newest = useAnswer(url("/logs", { limit: 1 }));
  const to = newest.data?.to;
  const seconds = SHOWN * WINDOWS[/** @type {keyof typeof WINDOWS} */ (length)];
  const answer = useAnswer(to ? url("/logs/histogram", { filter, from: before(to, seconds), to }) : null);
  return newest.error ? newest : answer;
}

/**
 * How often it would have fired.
 * @param {{ answer: import("./ask.js").Answer<any>, length: string, when: string, threshold: number }} props
 */
function Preview({ answer, length, when, threshold }) {
  const { data, error } = answer;
  const sums = useMemo(() => (data ? windows(data, WINDOWS[/** @type {keyof typeof WINDOWS} */ (length)]) : null), [data, length]);
  const bars = useMemo(() => {
    if (!sums) return null;
    const fires = sums.counts.map((count) => (when === "above" ? count > threshold : count < threshold));
    const series = [
      { name: "quiet", tone: "info", values: sums.counts.map((count, i) => (fires[i] ? 0 : count)) },
      { name: "firing", tone: "error", values: sums.counts.map((count, i) => (fires[i] ? count : 0)) },
    ];
    return { times: sums.times, width: sums.width, series, firings: fires.filter((one, i) => one && !fires[i - 1]).length };
  }, [sums, when, threshold]);
  if (error && error.status !== 422) return html`<${Problem} error=${error} />`;
  if (!sums || !bars) return html`<p class="quiet">Asking …</p>`;
  const last = sums.counts[sums.counts.length - 1] ?? 0;
  return html`<p role="status">The last ${length} had <b>${counted(last, "row")}</b>. In the time shown, the alert would have fired <b>${bars.firings === 1 ? "once" : `${whole(bars.firings)} times`}</b>.</p>
    <${Bars} label=${`Rows in ${length} before each time`} times=${bars.times} width=${bars.width} series=${bars.series} height=${110} />`;
}

/**
 * The rows in the window that ends with each bucket of a histogram, as soon as one is whole.
 * @param {any} histogram
 * @param {number} seconds
 */
function windows(histogram, seconds) {
  const width = histogram.width;
  const first = Math.ceil(Date.parse(histogram.from) / 1000 / width);
  const end = Date.parse(histogram.to) / 1000 / width;
  const at = new Map(histogram.buckets.map((/** @type {import("./histogram.js").Bucket} */ bucket) => [
    Math.round(Date.parse(bucket.start) / 1000 / width), Object.values(bucket.counts).reduce((sum, count) => sum + count, 0)]));
  /** @type {number[]} */
  const times = [];
  /** @type {number[]} */
  const counts = [];
  const many = Math.max(1, Math.round(seconds / width));
  for (let bucket = first + many - 1; bucket < end; bucket += 1) {
    let sum = 0;
    for (let one = bucket - many + 1; one <= bucket; one += 1) sum += at.get(one) ?? 0;
    times.push(bucket * width);
    counts.push(sum);
  }
  return { times, counts, width };
}

/** @param {{ alerts: Alert[], remove: (alert: Alert) => void }} props */
function List({ alerts, remove }) {
  if (!alerts.length) return html`<p class="quiet">None yet.</p>`;
  return html`<div class="wide" tabindex="0" role="group" aria-label="Alerts"><table class="figures"><thead><tr><th scope="col">name</th><th scope="col" class="text">state</th><th scope="col" class="text">fires while</th><th scope="col">rows now</th><th scope="col" class="text">webhook</th><th scope="col"></th></tr></thead>
    <tbody>${alerts.map((one) => html`<tr key=${one.id}><td title=${one.name}>${one.name}</td>
      <td class="text"><${State} of=${one.state} />${one.since && html` <small>since ${clock(one.since, "second")}</small>`}${one.problem && html`<br /><small>${one.problem}</small>`}</td>
      <td class="text">${one.when === "above" ? "more" : "fewer"} than ${whole(one.threshold)} in ${one.window}<br /><button class="link" onClick=${() => go({ view: "logs", filter: one.filter, row: "" })}>${one.filter || "all rows"}</button></td>
      <td>${one.count === null ? "–" : whole(one.count)}</td><td class="text">${one.webhook || "none"}</td>
      <td><button aria-label=${`Remove ${one.name}`} title="Remove" onClick=${() => confirm(`Remove the alert “${one.name}” and its history?`) && remove(one)}>×</button></td></tr>`)}</tbody></table></div>`;
}

/** @param {{ of: string }} props */
const State = ({ of }) => html`<b class="state tone-${TONES[of] ?? "plain"}">${of}</b>`;

/** @param {{ changes: any[], alerts: Alert[] }} props */
function History({ changes, alerts }) {
  if (!changes.length) return html`<p class="quiet">No alert has changed yet.</p>`;
  return html`<div class="wide" tabindex="0" role="group" aria-label="History"><table class="figures"><thead><tr><th scope="col">time</th><th scope="col" class="text">alert</th><th scope="col" class="text">state</th><th scope="col">rows</th><th scope="col" class="text">webhook</th></tr></thead>
    <tbody>${changes.map((one) => html`<tr key=${one.id}><td>${clock(one.time, "second")}</td><td class="text"><button class="link" title="The rows of that window" onClick=${() => go({ view: "logs", filter: alerts.find(({ id }) => id === one.alert)?.filter ?? "", from: one.start, to: one.end, row: "", live: "" })}>${one.name}</button></td>
      <td class="text"><${State} of=${one.state} /></td><td>${whole(one.count)}</td><td class="text">${one.delivery}${one.problem && html` <small>${one.problem}</small>`}</td></tr>`)}</tbody></table></div>`;
}
