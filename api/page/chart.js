// Bars and lines over time, of uPlot; a brush over them chooses a range.

import { html } from "./html.js";
import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import { short, whole } from "./format.js";
import { state } from "./state.js";
import { theme } from "./theming.js";

/**
 * @typedef {{ name: string, tone: string, values: (number | null)[] }} Series
 *
 * @typedef {{ label: string, times: number[], series: Series[], height?: number, from?: number, to?: number,
 *   openFrom?: number | null, onBrush?: (from: number, to: number) => void }} Chart
 * times, from and to in seconds since 1970; behind `openFrom` something may be missing
 */

/**
 * Stacked: each bar begins at 0 and is as high as those below it together, the highest first.
 * @param {Chart & { width: number }} props width in seconds
 */
export function Bars(props) {
  const { times, series, width } = props;
  const sums = times.map(() => 0);
  const stacked = series.map((one) => one.values.map((value, i) => (sums[i] = (sums[i] ?? 0) + (value ?? 0))));
  const total = series.map((one) => `${one.name} ${whole(one.values.reduce((/** @type {number} */ sum, value) => sum + (value ?? 0), 0))}`);
  return html`<${Plot} ...${props} of=${series} says=${total} values=${stacked.reverse()} unit=${(/** @type {number} */ tick) => (Number.isInteger(tick) ? short(tick) : "")}
    series=${[...series].reverse()} look=${(/** @type {string} */ colour) => ({
      fill: colour, width: 0, points: { show: false }, paths: /** @type {any} */ (uPlot.paths).bars({ size: [0.86, 60], align: 1, gap: 1 }),
    })} width=${width} />`;
}

/**
 * A line for each series; where a value is null there is none.
 * @param {Chart & { unit?: (value: number) => string }} props
 */
export function Lines(props) {
  const { series, unit = short } = props;
  const most = series.map((one) => `${one.name} up to ${unit(Math.max(0, ...one.values.map((value) => value ?? 0)))}`);
  return html`<${Plot} ...${props} of=${series} says=${most} values=${series.map((one) => one.values)} unit=${unit} width=${0} hasLegend
    look=${(/** @type {string} */ colour) => ({
      stroke: colour, width: 2, spanGaps: false, points: { show: false, filter: alone }, value: (/** @type {any} */ _, /** @type {number | null} */ value) => (value === null ? "–" : unit(value)),
    })} />`;
}

/**
 * The points with no others beside them, through which no line goes.
 * @param {uPlot} plot @param {number} of
 */
function alone(plot, of) {
  const values = /** @type {(number | null)[]} */ (plot.data[of]);
  return values.flatMap((value, i) => (value !== null && (values[i - 1] ?? null) === null && (values[i + 1] ?? null) === null ? [i] : []));
}

/** @param {any} props */
function Plot({ label, of, says, times, values, series, width, look, unit, height = 120, from, to, openFrom = null, onBrush, hasLegend = false }) {
  const place = useRef(/** @type {HTMLDivElement | null} */ (null));
  const brush = useRef(onBrush);
  brush.current = onBrush;
  const isLocal = state.value.zone === "local";
  useEffect(() => {
    const target = place.current;
    if (!target) return;
    const style = getComputedStyle(document.documentElement);
    const colour = (/** @type {string} */ name) => style.getPropertyValue(`--${name}`).trim();
    const axis = { stroke: colour("quiet"), grid: { stroke: colour("line"), width: 1 }, ticks: { show: false }, font: "11px system-ui" };
    const plot = new uPlot(
      {
        width: target.clientWidth,
        height,
        legend: { show: hasLegend },
        cursor: { y: false, points: { show: hasLegend }, drag: { x: Boolean(onBrush), y: false, setScale: false } },
        ...(isLocal ? {} : { tzDate: (/** @type {number} */ time) => uPlot.tzDate(new Date(time * 1000), "Etc/UTC") }),
        scales: {
          x: { time: true, range: (_, low, high) => [from ?? low, to ?? high + width] },
          y: { range: (_, __, high) => [0, hasLegend ? high * 1.08 || 1 : Math.max(1, high * 1.04)] },
        },
        axes: [
          { ...axis, space: 70, size: 38, gap: 7, values: AXIS },
          { ...axis, size: 52, space: 28, values: (_, ticks) => ticks.map(unit) },
        ],
        series: [
          { value: (_, time) => (time === null ? "–" : new Date((time - (isLocal ? new Date(time * 1000).getTimezoneOffset() * 60 : 0)) * 1000).toISOString().slice(0, 19).replace("T", " ")) },
          ...series.map((/** @type {Series} */ one) => ({ label: one.name, ...look(colour(`tone-${one.tone}`)) })),
        ],
        hooks: {
          draw: [(self) => openFrom !== null && hatch(self, openFrom, colour("quiet"), colour("panel"))],
          setSelect: [
            (self) => {
              if (self.select.width < 4) return;
              const [left, right] = [self.select.left, self.select.left + self.select.width];
              self.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
              brush.current?.(self.posToVal(left, "x"), self.posToVal(right, "x"));
            },
          ],
        },
      },
      [times, ...values],
      target,
    );
    const watching = new ResizeObserver(() => plot.setSize({ width: target.clientWidth, height }));
    watching.observe(target);
    return () => {
      watching.disconnect();
      plot.destroy();
    };
  }, [times, of, width, height, from, to, openFrom, theme.value, isLocal]);
  const edge = openFrom === null ? "" : "; its end is not complete";
  return html`<div class="chart" ref=${place} role=${hasLegend ? "group" : "img"} aria-label=${`${label}: ${says.join(", ") || "nothing"}${edge}`}></div>`;
}

/**
 * Stripes over the part of a chart in which something may be missing, and a word that says so.
 * @param {uPlot} plot
 * @param {number} from
 * @param {string} colour
 * @param {string} back
 */
function hatch(plot, from, colour, back) {
  const { ctx, bbox } = plot;
  const right = bbox.left + bbox.width;
  const left = Math.max(bbox.left, Math.min(plot.valToPos(from, "x", true), right - 6 * devicePixelRatio));
  ctx.save();
  ctx.beginPath();
  ctx.rect(left, bbox.top, right - left, bbox.height);
  ctx.clip();
  ctx.strokeStyle = colour;
  ctx.globalAlpha = 0.5;
  ctx.lineWidth = devicePixelRatio;
  ctx.beginPath();
  for (let x = left - bbox.height; x < right; x += 7 * devicePixelRatio) {
    ctx.moveTo(x, bbox.top + bbox.height);
    ctx.lineTo(x + bbox.height, bbox.top);
  }
  ctx.stroke();
  ctx.restore();
  ctx.save();
  ctx.font = `${11 * devicePixelRatio}px system-ui`;
  ctx.textAlign = "right";
  ctx.textBaseline = "top";
  const said = "not complete yet";
  const width = ctx.measureText(said).width + 6 * devicePixelRatio;
  ctx.fillStyle = back;
  ctx.fillRect(right - width, bbox.top, width, 15 * devicePixelRatio);
  ctx.fillStyle = colour;
  ctx.fillText(said, right - 3 * devicePixelRatio, bbox.top + 2 * devicePixelRatio);
  ctx.restore();
}

// Hours and days as the rest of the page has them: [least step, text, then with the day, ...].
const AXIS = [
  [86400, "{YYYY}-{MM}-{DD}", null, null, null, null, null, null, 1],
  [60, "{HH}:{mm}", "\n{YYYY}-{MM}-{DD}", null, "\n{YYYY}-{MM}-{DD}", null, null, null, 1],
  [1, "{HH}:{mm}:{ss}", "\n{YYYY}-{MM}-{DD}", null, "\n{YYYY}-{MM}-{DD}", null, null, null, 1],
  [0.001, "{ss}.{fff}", "\n{HH}:{mm}", null, "\n{YYYY}-{MM}-{DD}", null, "\n{HH}:{mm}", null, 1],
];
