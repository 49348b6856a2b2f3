// The view of the pipeline: the files, how far each is stored, and what is no row.

import { html } from "./html.js";
import { useEffect } from "preact/hooks";
import { isAsking, useAnswer } from "./ask.js";
import { clock, counted, duration, size, short, whole } from "./format.js";
import { Panel } from "./panel.js";
import { turn } from "./range.js";

export function PipelineView() {
  useEffect(() => {
    const timer = setInterval(() => {
      if (!document.hidden && !isAsking()) turn.value += 1;
    }, 5000);
    return () => clearInterval(timer);
  }, []);
  const health = useAnswer("/health", turn.value);
  const pipeline = useAnswer("/pipeline", turn.value);
  const letters = useAnswer("/dead-letters", turn.value);
  return html`<div class="stack">
    <${Panel} title="Now" answer=${health}><${Now} of=${health.data} /><//>
    <${Panel} title="Files" answer=${pipeline}><${Files} of=${pipeline.data} /><//>
    <${Panel} title="Dead letters" answer=${letters}><${Letters} of=${letters.data} /><//>
  </div>`;
}

/** @param {{ of: any }} props */
function Now({ of }) {
  if (!of) return null;
  /** @type {[string, string][]} */
  const shown = [["rows stored", of.rows_stored === null ? "–" : whole(of.rows_stored)], ["dead letters", of.dead_letters === null ? "–" : whole(of.dead_letters)]];
  if (of.files !== undefined) {
    shown.push(["files", whole(of.files)], ["not stored yet", size(of.lag_bytes)], ["oldest of it", of.lag_bytes ? duration(of.lag_seconds) : "–"]);
  }
  return html`<div class="cards">${shown.map(([name, value]) => html`<div class="card" key=${name}><b>${value}</b><span>${name}</span></div>`)}</div>
    ${[of.last_error, ...(of.problems ?? [])].filter(Boolean).map((text) => html`<p class="problem" key=${text}>${text}</p>`)}`;
}

/** @param {{ of: any }} props */
function Files({ of }) {
  if (!of) return null;
  if (!of.files.length) return html`<p class="quiet">No file is read: look at what LOG_FILE_PATH says.</p>`;
  return html`<div class="wide" tabindex="0" role="group" aria-label="Files"><table class="figures"><thead><tr><th scope="col">file</th><th scope="col" class="text">format</th><th scope="col">lines/s</th><th scope="col">behind</th><th scope="col">for</th><th scope="col">dead letters</th></tr></thead>
    <tbody>${of.files.map((/** @type {any} */ file) => html`<tr key=${file.file_id ?? file.path}><td title=${file.path}>${file.path}</td><td class="text">${file.format}</td>
      <td>${typeof file.lines_per_second === "number" ? short(file.lines_per_second) : "–"}</td><td>${size(file.lag_bytes ?? 0)}</td><td>${file.lag_bytes ? duration(file.lag_seconds) : "–"}</td>
      <td class=${file.dead_letter_share > 0.01 ? "bad" : ""}>${typeof file.dead_letter_share === "number" ? `${+(100 * file.dead_letter_share).toPrecision(2)} %` : "–"}</td></tr>`)}</tbody></table></div>`;
}

/** @param {{ of: any }} props */
function Letters({ of }) {
  if (!of) return null;
  if (!of.total) return html`<p class="quiet">None: every line became a row.</p>`;
  return of.reasons.map((/** @type {any} */ one) => html`<div key=${one.reason}><h3>${counted(one.count, "line")}: ${one.reason}</h3>
    <p class="quiet">stored from ${clock(one.first, "second")} to ${clock(one.last, "second")}${one.fits ? html`; LOG_FORMAT=<b>${one.fits}</b> takes most of these` : ""}</p>
    <ul class="samples">${one.samples.slice(0, 3).map((/** @type {any} */ sample) => html`<li key=${`${sample.source} ${sample.offset}`}><small>${sample.source} at ${whole(sample.offset)}</small><br />${sample.raw.slice(0, 500)}</li>`)}</ul></div>`);
}
