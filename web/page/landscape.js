// A landscape: curves along one direction, or maps over two.
import { Chart } from "./charts.js";
import { Grid } from "./grid.js";
import { HeatMap } from "./heatmap.js";
import { extent } from "./scale.js";
import { tiles } from "./tiles.js";
import { compact, count, make, number, percent, short } from "./text.js";

const STEEP = 30; // a loss that spans so many times its lowest is first shown on a log scale

export const needs = ["points"];

const directions = ({ x, y }) => [x, y].map((axis, i) => `${"xy"[i]}: ${axis.direction}`);
const share = (x) => `${Math.round(100 * x)} %`;

// A button that switches between a linear and a log scale.
function scaleButton(changed) {
  const button = make("button.plain", { type: "button" }, "log scale");
  const show = (log) => button.setAttribute("aria-pressed", String(log));
  button.addEventListener("click", () => changed(button.getAttribute("aria-pressed") !== "true"));
  show(false);
  return { button, show };
}

export class Landscape {
  constructor(host, probe) {
    this.grid = new Grid(probe.request);
    this.tiles = make("dl.tiles");
    this.charts = make("div.charts");
    host.append(this.tiles, this.charts);
    this.chosen = false; // somebody has chosen the scale
    this.scale = scaleButton((log) => {
      this.chosen = true;
      this.setLog(log);
    });
    if (this.grid.flat) this.makeCurves(probe);
    else this.makeMaps(host, probe);
    this.loss.tools.append(this.scale.button);
  }

  makeCurves({ number: n, request }) {
    const x = { kind: "linear", label: directions(request)[0], name: "x", sync: `probe-${n}`,
      format: (value) => short(value, 3) };
    this.loss = new Chart(this.charts, { title: "Loss", name: "landscape-loss", kind: "linear",
      empty: "No point yet", format: (value) => short(value), tick: compact, x,
      lines: [{ label: "loss", colour: "--train", width: 2 }] });
    this.accuracy = new Chart(this.charts, { title: "Accuracy", name: "landscape-accuracy",
      kind: "share", empty: "No point yet", format: (value) => percent(value), tick: share, x,
      lines: [{ label: "top 1", colour: "--test", width: 2 },
        { label: "top 5", colour: "--soft", width: 1 }] });
    this.parts = [this.loss, this.accuracy];
  }

  makeMaps(host, { request }) {
    const common = { labels: directions(request), point: (at) => this.mark(at) };
    const of = (column) => () => {
      const { rows, nx, ny } = this.grid;
      return `Map of the ${column}: ${rows.length} of ${nx * ny} points over two directions.`
        + ` The arrow keys walk through it.${this.at ? ` ${this.text(this.at)}` : ""}`;
    };
    this.loss = new HeatMap(this.charts, this.grid, { ...common, title: "Loss",
      name: "landscape-loss", column: "loss", kind: "linear", tick: compact,
      describe: of("loss") });
    this.accuracy = new HeatMap(this.charts, this.grid, { ...common, title: "Accuracy",
      name: "landscape-accuracy", column: "top1", kind: "linear", tick: (x) => percent(x, 0),
      describe: of("accuracy") });
    this.parts = [this.loss, this.accuracy];
    this.at = null;
    this.spoken = make("p.hidden-text", { "aria-live": "polite" });
    host.append(make("p.marks", {}, "+ the checkpoint  ·  ○ the lowest loss of the grid  ·  ",
      "lines join equal values"), this.spoken);
  }

  setLog(log) {
    this.scale.show(log);
    if (this.grid.flat) {
      if ((this.loss.options.kind === "log") === log) return;
      this.loss.options.kind = log ? "log" : "linear";
      this.loss.rebuild();
      this.drawCurves();
    } else {
      const kind = log ? "log" : "linear";
      if (this.loss.kind !== kind) this.loss.kind = kind;
    }
  }

  // What is known of a point of the grid.
  text(at) {
    const row = this.grid.row(at);
    const place = `x ${short(this.grid.xs[at.i], 3)}, y ${short(this.grid.ys[at.j], 3)}`;
    return row ? `${place}: loss ${short(row.loss)}, accuracy ${percent(row.top1)}`
      : `${place}: not measured yet`;
  }

  mark(at) {
    this.at = at;
    const text = at ? this.text(at) : "";
    for (const map of this.parts) map.mark(at, text);
    if (document.activeElement?.closest(".map")) this.spoken.textContent = text;
  }

  set(probe, { points }) {
    const { summary } = probe, { grid } = this;
    grid.set(points);
    tiles(this.tiles, this.numbers(probe));
    const [low, high] = extent(points.map((row) => number(row.loss))) ?? [0, 0];
    if (!this.chosen) this.setLog(low > 0 && high > STEEP * low);
    if (!grid.flat) {
      const lowest = summary && number(summary.x_min) !== null
        ? { x: number(summary.x_min), y: number(summary.y_min) } : null;
      for (const map of this.parts) map.set(lowest);
      return;
    }
    this.drawCurves();
  }

  // What has no place on the scale is a gap.
  drawCurves() {
    const log = this.loss.options.kind === "log", { rows } = this.grid;
    const column = (name) => rows.map((row) => number(row[name]));
    const gaps = (values, least) => values.map((value) =>
      (Number.isFinite(value) && value >= least ? value : null));
    const x = column("x");
    this.loss.setAll([x, gaps(column("loss"), log ? Number.MIN_VALUE : -Infinity)]);
    this.accuracy.setAll([x, gaps(column("top1"), 0), gaps(column("top5"), 0)]);
  }

  numbers({ summary, request }) {
    const { nx, ny, rows, flat } = this.grid, known = summary ?? {};
    const losses = rows.map((row) => number(row.loss)), [low, high] = extent(losses) ?? [];
    const place = flat ? `at x ${short(known.x_min, 3)}`
      : `at x ${short(known.x_min, 3)}, y ${short(known.y_min, 3)}`;
    return [
      ["Loss here", short(known.loss), "of the checkpoint"],
      ["Accuracy here", percent(known.top1), `${request.split} samples`],
      ["Lowest loss", short(known.loss_min ?? low), number(known.x_min) === null ? "" : place],
      ["Highest loss", short(known.loss_max ?? high), ""],
      ["Points", count(rows.length), `of ${flat ? count(nx) : `${nx} × ${ny}`}`],
      ["Length of x", short(known.x_norm), flat ? "" : `y ${short(known.y_norm)}`],
    ];
  }

  recolour() {
    for (const part of this.parts) (part.rebuild ?? part.draw).call(part);
  }

  close() {
    for (const part of this.parts) part.close();
  }
}
