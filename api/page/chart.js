// Bars over time, of uPlot; a brush over them chooses a range.

import { html } from "htm/preact";
import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import { short, whole } from "./format.js";
import { state } from "./state.js";
import { theme } from "./theming.js";

/**
 * @typedef {{ name: string, tone: string, values: number[] }} Series
 */

/**
 * @param {{ label: string, times: number[], width: number, series: Series[], height?: number,
 *   from?: number, to?: number, onBrush?: (from: number, to: number) => void }} props
 * times, from and to in seconds since 1970; width in seconds
 */
export function Bars({ label, times, width, series, height = 120, from, to, onBrush }) {
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
    // Stacked: each bar begins at 0 and is as high as those below it together, the highest first.
    const sums = times.map(() => 0);
    const stacked = series.map((one) => one.values.map((value, i) => (sums[i] = (sums[i] ?? 0) + value)));
    const plot = new uPlot(
      {
        width: target.clientWidth,
        height,
        legend: { show: false },
        cursor: { y: false, points: { show: false }, drag: { x: Boolean(onBrush), y: false, setScale: false } },
        ...(isLocal ? {} : { tzDate: (/** @type {number} */ time) => uPlot.tzDate(new Date(time * 1000), "Etc/UTC") }),
        scales: {
          x: { time: true, range: (_, low, high) => [from ?? low, to ?? high + width] },
          y: { range: (_, __, high) => [0, Math.max(1, high * 1.04)] },
        },
        axes: [
          { ...axis, space: 70, size: 38, gap: 7, values: AXIS },
          { ...axis, size: 44, space: 28, values: (_, ticks) => ticks.map((tick) => (Number.isInteger(tick) ? short(tick) : "")) },
        ],
        series: [
          {},
          ...[...series].reverse().map((one) => ({
            label: one.name,
            fill: colour(`tone-${one.tone}`),
            width: 0,
            points: { show: false },
            paths: /** @type {any} */ (uPlot.paths).bars({ size: [0.86, 60], align: 1, gap: 1 }),
          })),
        ],
        hooks: {
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
      [times, ...stacked.reverse()],
      target,
    );
    const watching = new ResizeObserver(() => plot.setSize({ width: target.clientWidth, height }));
    watching.observe(target);
    return () => {
      watching.disconnect();
      plot.destroy();
    };
  }, [times, series, width, height, from, to, theme.value, isLocal]);
  const total = series.map((one) => `${one.name} ${whole(one.values.reduce((sum, value) => sum + value, 0))}`);
  return html`<div class="chart" ref=${place} role="img" aria-label=${`${label}: ${total.join(", ") || "nothing"}`}></div>`;
}

// Hours and days as the rest of the page has them: [least step, text, then with the day, ...].
const AXIS = [
  [86400, "{YYYY}-{MM}-{DD}", null, null, null, null, null, null, 1],
  [60, "{HH}:{mm}", "\n{YYYY}-{MM}-{DD}", null, "\n{YYYY}-{MM}-{DD}", null, null, null, 1],
  [1, "{HH}:{mm}:{ss}", "\n{YYYY}-{MM}-{DD}", null, "\n{YYYY}-{MM}-{DD}", null, null, null, 1],
  [0.001, "{ss}.{fff}", "\n{HH}:{mm}", null, "\n{YYYY}-{MM}-{DD}", null, "\n{HH}:{mm}", null, 1],
];
