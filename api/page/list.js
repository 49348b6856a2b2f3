// The list: only the rows that are seen, and some beside them, are in the page.

import { html } from "./html.js";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { clock, counted, fieldOf, text, tone } from "./format.js";
import { MOST, placeOf } from "./rows.js";
import { chosen, showColumn } from "./columns.js";
import { go, state } from "./state.js";

const BESIDE = 20;
const MOST_NODES = 300;
const isNarrow = matchMedia("(max-width: 700px)");

/** @param {{ list: import("./rows.js").Rows }} props */
export function List({ list }) {
  const place = useRef(/** @type {HTMLDivElement | null} */ (null));
  const [top, setTop] = useState(0);
  const [seen, setSeen] = useState(600);
  const [height, setHeight] = useState(isNarrow.matches ? 46 : 24);
  const rows = list.rows.value;
  const open = state.value.row;
  const at = rows.findIndex((row) => placeOf(row) === open);

  useEffect(() => {
    const target = place.current;
    if (!target) return;
    const watching = new ResizeObserver(() => {
      setSeen(target.clientHeight);
      setHeight(isNarrow.matches ? 46 : 24);
    });
    watching.observe(target);
    return () => watching.disconnect();
  }, []);

  useEffect(() => {
    place.current?.scrollTo(0, 0);
    setTop(0);
  }, [list]);

  // What is read stays where it is while rows come above it.
  const first = useRef("");
  useLayoutEffect(() => {
    const target = place.current;
    const before = rows.findIndex((row) => placeOf(row) === first.current);
    if (target && before > 0 && target.scrollTop > 0) target.scrollTop += before * height;
    first.current = rows[0] ? placeOf(rows[0]) : "";
  }, [rows]);

  // The row that is open is seen.
  useEffect(() => {
    const target = place.current;
    if (!target || at < 0) return;
    const y = at * height;
    if (y < target.scrollTop) target.scrollTop = y;
    else if (y + height > target.scrollTop + target.clientHeight) target.scrollTop = y + height - target.clientHeight;
  }, [open]);

  const begin = Math.max(0, Math.floor(top / height) - BESIDE);
  const end = Math.min(rows.length, begin + Math.min(MOST_NODES, Math.ceil(seen / height) + 2 * BESIDE));
  useEffect(() => {
    if (end > rows.length - BESIDE && !list.error.value) void list.more();
  }, [end, rows.length, list]);

  const onScroll = () => {
    const y = place.current?.scrollTop ?? 0;
    setTop(y);
    list.isHeld = y > 0;
    if (!list.isHeld) list.release();
  };
  const toTop = () => {
    list.isHeld = false;
    list.release();
    place.current?.scrollTo(0, 0);
  };
  const news = list.waiting.value.length;
  const columns = chosen();
  return html`<div class="list">
    ${columns.length > 0 && html`<div class="names ${few(columns)}" style=${{ "--columns": columns.length }}>${columns.map((name) => html`<span key=${name}>${name}
      <button aria-label=${`Without the column ${name}`} title="Without it" onClick=${() => showColumn(name)}>×</button></span>`)}</div>`}
    ${news > 0 && html`<button class="news" onClick=${toTop}>${news >= MOST ? `more than ${MOST}` : news} new ${news === 1 ? "row" : "rows"} ↑</button>`}
    <div class="scroll" ref=${place} onScroll=${onScroll} tabindex="0" role="listbox" aria-label="Rows"
      aria-activedescendant=${at >= begin && at < end ? `row-${at}` : undefined}>
      <div class="all" role="presentation" style=${{ height: `${rows.length * height}px` }}>
        ${rows.slice(begin, end).map((row, i) => html`<${Line} key=${placeOf(row)} row=${row} index=${begin + i} count=${list.hasMore ? -1 : rows.length}
          y=${(begin + i) * height} isOpen=${begin + i === at} columns=${columns} zone=${state.value.zone} />`)}
      </div>
      ${!rows.length && !list.isLoading.value && !list.error.value && html`<p class="empty" role="presentation">No rows here: widen the time range, or take something out of the filter.</p>`}
    </div>
    <p class="foot" role="status">${list.note.value && html`<b>${list.note.value}</b> · `}${list.isLoading.value && !rows.length ? "Asking" : counted(rows.length, "row")}${list.isFull ? ": no more are listed at a time. Brush the histogram, filter, or export them all." : list.hasMore && rows.length ? ", more below" : ""}${list.isLoading.value ? " …" : ""}</p>
  </div>`;
}

/** Whether there is room for the text of a row beside these columns: a class. @param {string[]} columns */
const few = (columns) => (columns.length < 4 ? "few" : "");

/** @param {{ row: import("./format.js").Row, index: number, count: number, y: number, isOpen: boolean, columns: string[] }} props */
function Line({ row, index, count, y, isOpen, columns }) {
  const level = row.level || (row.status_code ? String(row.status_code) : "");
  return html`<div class="row tone-${tone(row)}" role="option" id=${`row-${index}`} aria-selected=${isOpen}
    aria-posinset=${index + 1} aria-setsize=${count} style=${{ transform: `translateY(${y}px)` }}
    onClick=${() => go({ row: placeOf(row) }, true)}>
    <time>${clock(row.timestamp)}</time><b>${level}</b>
    ${columns.length > 0 && html`<span class="cells ${few(columns)}" style=${{ "--columns": columns.length }}>${columns.map((name) => html`<i key=${name}>${fieldOf(row, name)}</i>`)}</span>`}
    ${(!columns.length || few(columns)) && html`<span>${text(row)}</span>`}
  </div>`;
}
