// Rows by time, coloured by what they are.

import { html } from "htm/preact";
import { useMemo } from "preact/hooks";
import { Bars } from "./chart.js";
import { counted, narrowed, short, toneOf } from "./format.js";
import { state } from "./state.js";

/** @typedef {{ start: string, counts: Record<string, number> }} Bucket */

/**
 * The answer of `/logs/histogram` as bars.
 * @param {{ answer: any, onBrush: (from: string, to: string) => void }} props
 */
export function Histogram({ answer, onBrush }) {
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
    onBrush(new Date(from * 1000).toISOString(), new Date(to * 1000).toISOString());
  return html`<${Bars} label="Rows by time" ...${data} from=${Date.parse(answer.from) / 1000} to=${Date.parse(answer.to) / 1000} onBrush=${brush} height=${120} />`;
}

const ORDER = ["debug", "plain", "calm", "info", "warn", "error"];

/** Values of a histogram, the gravest last: it is on top. @param {any} answer @returns {string[]} */
function namesOf(answer) {
  /** @type {Set<string>} */
  const names = new Set(answer.buckets.flatMap((/** @type {Bucket} */ bucket) => Object.keys(bucket.counts)));
  return [...names].sort((a, b) => ORDER.indexOf(toneOf(a)) - ORDER.indexOf(toneOf(b)) || (a < b ? -1 : 1));
}

/**
 * What its colours mean; a click keeps the rows of one.
 * @param {{ answer: any, by: string, onChoose: (changes: { filter: string }) => void, onBy?: (by: string) => void }} props
 */
export function Legend({ answer, by, onChoose, onBy }) {
  const names = answer ? namesOf(answer).reverse() : [];
  const count = (/** @type {string} */ name) => answer.buckets.reduce((/** @type {number} */ sum, /** @type {Bucket} */ bucket) => sum + (bucket.counts[name] ?? 0), 0);
  return html`<span class="legend">
    ${answer && html`<b>${counted(answer.total, "row")}</b>`}
    ${names.slice(0, 8).map((name) => html`<button key=${name} class="tone-${toneOf(name)}" title=${`Only ${by} = ${name || '""'}`}
      onClick=${() => onChoose({ filter: narrowed(onBy ? state.value.filter : "", by, name) })}><i></i>${name || "none"} <small>${short(count(name))}</small></button>`)}
    ${onBy && html`<label>by <select aria-label="Coloured by" value=${by} onChange=${(/** @type {any} */ event) => onBy(event.target.value)}>
      <option value="level">level</option><option value="status_class">status</option></select></label>`}
  </span>`;
}
