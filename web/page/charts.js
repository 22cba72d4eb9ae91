// One chart: uPlot in the page's colours, with a legend of buttons that show the values under the
// pointer, or the last ones, and switch lines on and off.
import { compact, make, say } from "./text.js";

const HEIGHT = 250, HEIGHT_SMALL = 200, SMALL = 600;
const FONT = '11px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif';

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

const lastPlace = (column) => {
  let i = column.length - 1;
  while (i >= 0 && column[i] === undefined) i--;
  return i < 0 ? null : i;
};

// 0.0437 → 0.04 or 0.05: where a log scale's ticks are.
function oneDigit(value, round) {
  const unit = 10 ** Math.floor(Math.log10(value));
  const rounded = round(value / unit) * unit;
  return rounded === value ? value : Number(rounded.toPrecision(1));
}

// A log scale's lines: 1, 2 and 5 of each power of ten, or where there are many powers every second
// one, every third, …: uPlot's own become a carpet.
export function logSplits(low, high, most) {
  const from = Math.floor(Math.log10(low)), to = Math.ceil(Math.log10(high));
  const digits = 3 * (to - from) <= most ? [1, 2, 5] : [1];
  const step = Math.max(1, Math.ceil((to - from) / most)), splits = [];
  for (let power = Math.ceil(from / step) * step; power <= to; power += step) {
    for (const digit of digits) splits.push(Number(`${digit}e${power}`));
  }
  return splits.filter((value) => value >= low && value <= high);
}

const count = (column) => column.reduce((n, value) => n + (value !== undefined), 0);

// How far the axis goes: to the end of the job, or while that is far away to a half of it, a
// quarter, …: the curves stay large enough to see and the axis changes seldom.
function horizon(last, total) {
  let end = total;
  while (end > 20 && last < end / 2) end /= 2;
  return Math.ceil(end);
}

// Beyond this uPlot draws no axis. A curve that goes further leaves the picture.
const HIGHEST = 1e15;

// A scale's range, with a little air where it may have some.
function rangeOf(kind, low, highest) {
  const high = highest === null ? null : Math.min(highest, HIGHEST);
  if (low === null || high === null || !Number.isFinite(low)) {
    return kind === "log" ? [0.1, 1] : [0, 1];
  }
  if (kind === "share") return [Math.max(0, Math.floor(low * 20 - 0.2) / 20), 1];
  if (kind === "log") return [oneDigit(low, Math.floor), oneDigit(high, Math.ceil)];
  return [0, high > 0 ? high * 1.05 : 1];
}

// options: title; name (for tests and styles); format(value) for legend; tick(value) for the axis;
// kind: "linear" | "log" | "share"; lines: [{ label, colour (CSS variable), width, hidden }]
export class Chart {
  constructor(host, options) {
    this.options = options;
    this.zoom = null;
    this.end = 1;
    this.columns = [[], ...options.lines.map(() => [])];
    this.shown = options.lines.map((line) => !line.hidden);
    this.plot = null;
    this.area = make("div.plot");
    this.empty = make("p.plot-empty", {}, options.empty);
    this.legend = make("div.legend", { role: "group", "aria-label": `Lines of ${options.title}` });
    this.keys = options.lines.map((line, i) => this.makeKey(line, i));
    this.tools = make("div.chart-tools");
    this.figure = make("figure.chart", { "data-chart": options.name },
      make("figcaption", {}, make("h3", {}, options.title), this.tools),
      this.legend, make("div.plot-frame", {}, this.area, this.empty));
    host.append(this.figure);
    this.watchSize = new ResizeObserver(() => this.resize());
    this.watchSize.observe(this.area);
    this.build();
  }

  makeKey(line, i) {
    const value = make("span.value", {}, "–");
    const key = make("button.key", { type: "button", "aria-pressed": String(this.shown[i]) },
      make(`span.swatch.${line.colour.slice(2)}${line.width < 2 ? ".thin" : ""}`),
      make("span", {}, line.label), value);
    key.title = line.title ?? "";
    key.addEventListener("click", () => {
      this.shown[i] = !this.shown[i];
      key.setAttribute("aria-pressed", String(this.shown[i]));
      this.plot.setSeries(i + 1, { show: this.shown[i] });
    });
    this.legend.append(key);
    return { key, value };
  }

  size() {
    const width = Math.max(200, Math.floor(this.area.clientWidth));
    return { width, height: width < SMALL ? HEIGHT_SMALL : HEIGHT };
  }

  axes() {
    const axis = { stroke: colour("--soft"), font: FONT, size: 22,
      grid: { stroke: colour("--grid"), width: 1 }, ticks: { show: false } };
    const whole = (u, splits) => splits.map((v) => (Number.isInteger(v) ? compact(v) : ""));
    const log = this.options.kind === "log" ? {
      splits: (u, i, low, high) => logSplits(low, high, Math.max(2, u.height / 36)),
      filter: (u, splits) => splits,
    } : {};
    return [
      { ...axis, grid: { show: false }, values: whole, space: 60, gap: 4, label: "update",
        labelFont: FONT, labelSize: 15, labelGap: 0 },
      { ...axis, ...log, size: 48, gap: 6, space: 36,
        values: (u, splits) => splits.map((v) => (v === null ? "" : this.options.tick(v))) },
    ];
  }

  build() {
    if (this.plot) this.plot.destroy();
    const kind = this.options.kind;
    const lines = this.options.lines.map((line, i) => ({
      label: line.label, show: this.shown[i], stroke: colour(line.colour), width: line.width,
      // A line of a few points is hard to see, and one of a single point is none.
      points: { show: () => count(this.columns[i + 1]) <= (line.width >= 2 ? 12 : 1), size: 5 },
    }));
    this.plot = new window.uPlot({
      ...this.size(),
      padding: [8, 16, 0, 0],
      legend: { show: false },
      cursor: { y: false, sync: { key: "job" }, points: { size: 6 }, drag: { x: true, y: false } },
      scales: {
        x: { time: false, range: () => this.zoom ?? [0, this.end] },
        y: { distr: kind === "log" ? 3 : 1, range: (u, low, high) => rangeOf(kind, low, high) },
      },
      axes: this.axes(),
      series: [{}, ...lines],
      hooks: {
        setCursor: [() => this.writeLegend()],
        setSelect: [(u) => this.zoomTo(u)],
      },
    }, this.columns, this.area);
    this.plot.over.addEventListener("dblclick", () => {
      this.zoom = null;
      this.draw();
    });
    this.writeLegend();
  }

  zoomTo(u) {
    if (u.select.width < 8) return;
    const from = u.posToVal(u.select.left, "x");
    this.zoom = [from, u.posToVal(u.select.left + u.select.width, "x")];
    u.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
    this.draw();
  }

  // columns[0] are updates, then a column a line; last: the last update; total: how many there
  // will be.
  set(columns, last, total) {
    this.columns = columns;
    this.end = horizon(last, Math.max(1, total));
    this.figure.dataset.last = last;
    this.draw();
  }

  draw() {
    const any = this.columns[0].length > 0;
    this.empty.hidden = any;
    this.figure.dataset.points = this.columns[0].length;
    this.options.lines.forEach((line, i) => {
      this.keys[i].key.hidden = any && !this.columns[i + 1].some((value) => value !== undefined);
    });
    this.plot.setData(this.columns, true);
    this.writeLegend();
  }

  writeLegend() {
    if (!this.plot) return;
    const { left, idxs } = this.plot.cursor;
    const under = left >= 0 && this.columns[0].length > 0;
    this.keys.forEach(({ value }, i) => {
      const column = this.columns[i + 1];
      const at = under && idxs ? idxs[i + 1] : lastPlace(column);
      say(value, at === null || at === undefined ? "–" : this.options.format(column[at]));
    });
  }

  resize() {
    const { width, height } = this.size();
    if (width === this.plot.width && height === this.plot.height) return;
    this.plot.setSize({ width, height });
  }

  // After a change of colours, or of `options.kind`.
  rebuild() {
    this.build();
    this.draw();
  }

  close() {
    this.watchSize.disconnect();
    this.plot.destroy();
    this.figure.remove();
  }
}
