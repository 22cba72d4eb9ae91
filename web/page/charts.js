// One chart: uPlot in the page's colours, with a legend of buttons that show the values under the
// pointer, or the last ones, and switch lines on and off.
import { logSplits } from "./scale.js";
import { compact, make, onResize, say } from "./text.js";

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

// Where the x axis of a job's curves goes to, and what its pointer shares.
const UPDATES = { kind: "update", label: "update", sync: "job" };

// Adds to a line's path a bar from `low` to `high` at each of its points.
function addBars(path, u, column, low, high, foot) {
  const place = (value, axis) => u.valToPos(value, axis, true);
  column.forEach((value, i) => {
    const [down, up] = [low[i], high[i]];
    if (!Number.isFinite(down) || !Number.isFinite(up) || down === up) return;
    const x = place(u.data[0][i], "x");
    const bottom = Math.min(place(Math.max(down, u.scales.y.min), "y"), u.bbox.top + u.bbox.height);
    const top = Math.max(place(Math.min(up, u.scales.y.max), "y"), u.bbox.top);
    path.moveTo(x, bottom);
    path.lineTo(x, top);
    if (!foot) return;
    for (const y of [bottom, top]) {
      path.moveTo(x - foot, y);
      path.lineTo(x + foot, y);
    }
  });
}

// options: title; name (for tests and styles); format(value) for legend; tick(value) for the axis;
// kind: "linear" | "log" | "share"; range(low, high): replaces the kind's own;
// x: { kind: "update" | "linear" | "log", label, name, format, sync, air: share of a linear axis that
//   is left free at its ends }; without it UPDATES;
// lines: [{ label, colour (CSS variable), width, hidden, title, format, and
//   stems: from the axis up to each point, in place of a line }]
export class Chart {
  constructor(host, options) {
    this.options = options;
    this.x = options.x ?? UPDATES;
    this.bars = []; // by line: how far the points may be off, { low, high }
    this.zoom = null;
    this.end = 1;
    this.columns = [[], ...options.lines.map(() => [])];
    this.shown = options.lines.map((line) => !line.hidden);
    this.plot = null;
    this.area = make("div.plot");
    this.empty = make("p.plot-empty", {}, options.empty);
    this.legend = make("div.legend", { role: "group", "aria-label": `Lines of ${options.title}` });
    this.under = make("span.key.under", { hidden: true });
    if (this.x.format) this.legend.append(this.under);
    this.keys = options.lines.map((line, i) => this.makeKey(line, i));
    this.tools = make("div.chart-tools");
    this.figure = make("figure.chart", { "data-chart": options.name },
      make("figcaption", {}, make("h3", {}, options.title), this.tools),
      this.legend, make("div.plot-frame", {}, this.area, this.empty));
    host.append(this.figure);
    this.watchSize = onResize(this.area, () => this.resize());
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
    const update = this.x.kind === "update";
    const tick = (v) => (update && !Number.isInteger(v) ? "" : compact(v));
    const log = (kind, most) => (kind === "log" ? {
      splits: (u, i, low, high) => logSplits(low, high, Math.max(2, most(u))),
      filter: (u, splits) => splits,
    } : {});
    return [
      { ...axis, ...log(this.x.kind, (u) => u.width / 70), grid: { show: false },
        values: (u, splits) => splits.map(tick), space: 60, gap: 4, label: this.x.label,
        labelFont: FONT, labelSize: 15, labelGap: 0 },
      { ...axis, ...log(this.options.kind, (u) => u.height / 36), size: 48, gap: 6, space: 36,
        values: (u, splits) => splits.map((v) => (v === null ? "" : this.options.tick(v))) },
    ];
  }

  build() {
    if (this.plot) this.plot.destroy();
    const kind = this.options.kind;
    const lines = this.options.lines.map((line, i) => ({
      label: line.label, show: this.shown[i], stroke: colour(line.colour), width: line.width,
      // A line of a few points is hard to see, and one of a single point is none.
      points: { size: 5, show: () => !line.stems
        && count(this.columns[i + 1]) <= (line.width >= 2 ? 12 : 1) },
      paths: (u, series, from, to) => this.path(u, series, from, to),
    }));
    const { sync } = this.x;
    this.plot = new window.uPlot({
      ...this.size(),
      padding: [8, 16, 0, 0],
      legend: { show: false },
      cursor: { y: false, points: { size: 6 }, drag: { x: true, y: false },
        ...(sync ? { sync: { key: sync } } : {}) },
      scales: {
        x: { time: false, distr: this.x.kind === "log" ? 3 : 1,
          range: () => this.zoom ?? this.span() },
        y: { distr: kind === "log" ? 3 : 1,
          range: (u, low, high) => this.options.range?.(low, high) ?? rangeOf(kind, low, high) },
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

  // Where the x axis goes from and to while nobody has zoomed in.
  span() {
    if (this.x.kind === "update") return [0, this.end];
    const [x] = this.columns;
    if (x.length && x[0] < x[x.length - 1]) {
      const air = (this.x.air ?? 0) * (x[x.length - 1] - x[0]);
      return [x[0] - air, x[x.length - 1] + air];
    }
    const only = x[0] ?? 1;
    return this.x.kind === "log" ? [only / 2, only * 2] : [only - 1, only + 1];
  }

  path(u, series, from, to) {
    const i = series - 1, column = this.columns[series];
    if (this.options.lines[i].stems) {
      const stroke = new Path2D();
      addBars(stroke, u, column, column.map(() => u.scales.y.min), column, 0);
      return { stroke, fill: null, flags: 0 };
    }
    const path = window.uPlot.paths.linear()(u, series, from, to);
    const bars = this.bars[i];
    if (path && bars) addBars(path.stroke, u, column, bars.low, bars.high, 3 * devicePixelRatio);
    return path;
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

  // For other axes than the updates': columns[0] ascends; bars: see the constructor.
  setAll(columns, bars = []) {
    this.columns = columns;
    this.bars = bars;
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
    if (this.x.format) this.writePlace(under ? this.plot.cursor.idx : null);
    this.keys.forEach(({ value }, i) => {
      const column = this.columns[i + 1], { format = this.options.format } = this.options.lines[i];
      let at = under && idxs ? idxs[i + 1] : null;
      // The last value is the present one where time goes on.
      if (!under && this.x.kind === "update") at = lastPlace(column);
      const known = at !== null && at !== undefined;
      say(value, known ? format(column[at], at) : this.x.format ? "" : "–");
    });
  }

  writePlace(at) {
    const known = at !== null && at !== undefined;
    this.under.hidden = !known;
    if (known) say(this.under, `${this.x.name} ${this.x.format(this.columns[0][at])}`);
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
