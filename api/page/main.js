// The frame of all views, and the keys.

import { render } from "preact";
import { html } from "./html.js";
import { useEffect, useRef } from "preact/hooks";
import { signal } from "@preact/signals";
import { AlertsView } from "./alerts.js";
import { isLockedOut } from "./ask.js";
import { ExplainView } from "./explain.js";
import { toneOf } from "./format.js";
import { LogsView, shown } from "./logs.js";
import { PatternsView } from "./patterns.js";
import { PipelineView } from "./pipeline.js";
import { turn } from "./range.js";
import { RequestsView } from "./requests.js";
import { placeOf } from "./rows.js";
import { Saved } from "./saved.js";
import { SqlView } from "./sql.js";
import { address, go, state } from "./state.js";
import { theme, turnTheme } from "./theming.js";

const VIEWS = /** @type {const} */ ([
  ["logs", "Logs", LogsView],
  ["requests", "Requests", RequestsView],
  ["explain", "Explain", ExplainView],
  ["sql", "SQL", SqlView],
  ["patterns", "Patterns", PatternsView],
  ["pipeline", "Pipeline", PipelineView],
  ["alerts", "Alerts", AlertsView],
]);
const KEYS = [
  ["/", "to the filter"], ["j k", "next, previous row"], ["g G", "first, last row"], ["e E", "next, previous error"],
  ["Esc", "close the row"], ["t", "live or not"], ["r", "ask again"], ["o", "three times as long a range"],
  ["1 – 7", "logs, requests, explain, SQL, patterns, pipeline, alerts"], ["d", "dark or light"], ["?", "these keys"],
];
const isHelpOpen = signal(false);

function Page() {
  const view = VIEWS.find(([name]) => name === state.value.view) ?? VIEWS[0];
  const View = view[2];
  useEffect(() => {
    document.title = `${view[1]}${state.value.filter ? `: ${state.value.filter}` : ""} – Logwax`;
  });
  return html`<header class="top">
      <a class="brand" href="/"><img src="/page/icon.svg" alt="" width="22" height="22" />Logwax</a>
      <nav aria-label="Views">${VIEWS.map(([name, title]) => html`<a key=${name} href=${address({ view: name })} aria-current=${name === view[0] ? "page" : undefined}
        onClick=${(/** @type {MouseEvent} */ event) => { if (!event.metaKey && !event.ctrlKey) { event.preventDefault(); go({ view: name }); } }}>${title}</a>`)}
        <a href="/docs">API</a></nav>
      <${Saved} />
      <button onClick=${turnTheme} title="Dark or light (d)" aria-label=${theme.value === "dark" ? "Light" : "Dark"}>${theme.value === "dark" ? "☀" : "☾"}</button>
      <button onClick=${() => (isHelpOpen.value = true)} title="Keys (?)" aria-label="Keys">?</button>
    </header>
    <main><h1 class="unseen">${view[1]}</h1>${isLockedOut.value && html`<${Unlock} />`}<${View} key=${view[0]} /></main>
    ${isHelpOpen.value && html`<${Help} />`}`;
}

function Help() {
  const place = useRef(/** @type {HTMLDialogElement | null} */ (null));
  useEffect(() => place.current?.showModal(), []);
  return html`<dialog ref=${place} aria-label="Keys" onClose=${() => (isHelpOpen.value = false)} onClick=${() => place.current?.close()}>
    <h2>Keys</h2><dl>${KEYS.map(([key, meaning]) => html`<div key=${key}><dt>${key}</dt><dd>${meaning}</dd></div>`)}</dl>
    <button>Close</button></dialog>`;
}

function Unlock() {
  return html`<p class="problem" role="alert">This API asks for its token: <a href="/login">open the page with it</a>.</p>`;
}

/** @param {(row: import("./format.js").Row) => boolean} fits @param {1 | -1} step */
function move(step, fits = () => true) {
  const rows = shown.now?.rows.value ?? [];
  let at = rows.findIndex((row) => placeOf(row) === state.value.row);
  if (at < 0 && step < 0) at = rows.length;
  for (at += step; at >= 0 && at < rows.length; at += step) {
    const row = rows[at];
    if (row && fits(row)) return go({ row: placeOf(row) }, true);
  }
}

const isError = (/** @type {import("./format.js").Row} */ row) => toneOf(row.level ?? "") === "error" || row.status_code >= 500;

/** @type {Record<string, () => void>} */
const ACTIONS = {
  "/": () => (document.getElementById("filter") ?? document.getElementById("sql"))?.focus(),
  j: () => move(1),
  k: () => move(-1),
  ArrowDown: () => move(1),
  ArrowUp: () => move(-1),
  g: () => { go({ row: "" }, true); move(1); },
  G: () => { go({ row: "" }, true); move(-1); },
  e: () => move(1, isError),
  E: () => move(-1, isError),
  Escape: () => go({ row: "" }, true),
  t: () => go({ live: state.value.live ? "" : "1", from: "", to: "" }),
  r: () => void (turn.value += 1),
  o: () => document.querySelector(/** @type {"button"} */ ('button[aria-label="Three times as long"]'))?.click(),
  d: turnTheme,
  "?": () => void (isHelpOpen.value = true),
};

/** Close the menus that are open, but for one that has this place; whether there were any. @param {Node} [place] */
function closeMenus(place) {
  const open = [...document.querySelectorAll("details.menu[open]")].filter((menu) => !place || !menu.contains(place));
  for (const menu of open) menu.removeAttribute("open");
  return open.length > 0;
}

addEventListener("click", (event) => void closeMenus(/** @type {Node} */ (event.target)));

addEventListener("keydown", (event) => {
  const target = /** @type {HTMLElement} */ (event.target);
  if (event.key === "Escape" && closeMenus()) return;
  if (event.ctrlKey || event.metaKey || event.altKey || target.closest("input, select, textarea, dialog")) return;
  if (event.key.startsWith("Arrow") && target.closest(".detail, .facets")) return;
  const view = VIEWS[Number(event.key) - 1];
  const action = view ? () => go({ view: view[0] }) : ACTIONS[event.key];
  if (!action) return;
  event.preventDefault();
  action();
});

const place = document.createElement("div");
place.id = "page";
document.body.append(place);
render(html`<${Page} />`, place);
