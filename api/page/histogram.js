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
    const { times, at } = grid(answer);
    const names = namesOf(answer);
    const series = names.map((name) => ({ name: name || "none", tone: toneOf(name), values: times.map(() => 0) }));
    for (const bucket of /** @type {Bucket[]} */ (answer.buckets)) {
      const i = at(bucket);
      if (i === undefined) continue;
      names.forEach((name, j) => {
        const one = series[j];
        if (one) one.values[i] = bucket.counts[name] ?? 0;
      });
    }
    return { times, series, width: answer.width };
  }, [answer]);
  return html`<${Bars} label="Rows by time" ...${data} ...${edges(answer)} onBrush=${brushed(onBrush)} height=${120} />`;
}

/**
 * The beginnings of all buckets that an answer may have, in seconds, and which is that of one.
 * @param {any} answer
 */
export function grid({ width, from, to }) {
  const begin = Math.floor(Date.parse(from) / 1000 / width) * width;
  const end = Date.parse(to) / 1000;
  /** @type {number[]} */
  const times = [];
  for (let time = begin; time < end && times.length < 200; time += width) times.push(time);
  const places = new Map(times.map((time, i) => [Math.round(time * 1000), i]));
  return { times, at: (/** @type {{ start: string }} */ bucket) => places.get(Date.parse(bucket.start)) };
}

/**
 * From when to when a chart goes, and since when it may lack something: while files are behind, their last lines.
 * @param {any} answer
 */
export function edges({ from, to, width, completeness }) {
  const [first, last] = [Date.parse(from) / 1000, Date.parse(to) / 1000];
  const lacks = completeness?.files_behind > 0 || completeness?.blocks_in_doubt > 0;
  const until = completeness?.complete_to ? Date.parse(completeness.complete_to) / 1000 : last;
  return { from: first, to: last, openFrom: lacks ? Math.min(until, last - width) : null };
}

/** @param {(from: string, to: string) => void} onBrush */
export const brushed = (onBrush) => (/** @type {number} */ from, /** @type {number} */ to) =>
  onBrush(new Date(from * 1000).toISOString(), new Date(to * 1000).toISOString());

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
