// Expected loss over the length of a perturbation, and the sigma that follows from it.
import { Chart } from "./charts.js";
import { scrolled, table } from "./table.js";
import { tiles } from "./tiles.js";
import { compact, make, number, percent, short } from "./text.js";

// By their numbers in the table.
const LINES = [
  { label: "random", colour: "--train", width: 2, title: "plain: uniform on the sphere" },
  { label: "filter-wise", colour: "--test", width: 2, title: "RWP's, by each filter's norm" },
  { label: "adaptive", colour: "--stem", width: 2, title: "ARWP's noise" },
  { label: "adversarial", colour: "--warn", width: 2, title: "SAM's: up along the gradient" },
];

export const needs = ["points", "sigmas"];

// The radii that there are, and for each line its losses at them and how far they may be off.
export function series(points) {
  const radii = [...new Set(points.map((row) => number(row.radius)))].sort((a, b) => a - b);
  const lines = LINES.map(() => radii.map(() => undefined));
  const bars = LINES.map(() => ({ low: radii.map(() => NaN), high: radii.map(() => NaN) }));
  for (const row of points) {
    const at = radii.indexOf(number(row.radius)), loss = number(row.loss);
    const error = number(row.standard_error);
    lines[row.perturbation][at] = Number.isFinite(loss) && loss > 0 ? loss : null;
    bars[row.perturbation].low[at] = loss - error;
    bars[row.perturbation].high[at] = loss + error;
  }
  return { columns: [radii, ...lines], bars };
}

export class Radius {
  constructor(host) {
    this.tiles = make("dl.tiles");
    this.charts = make("div.charts.wide");
    this.side = make("div.side");
    host.append(this.tiles, this.charts, this.side);
    this.chart = new Chart(this.charts, {
      title: "Expected loss over the radius", name: "radius", kind: "log", empty: "No point yet",
      format: (x) => short(x), tick: compact, lines: LINES,
      x: { kind: "log", label: "‖ε‖₂, length of the perturbation", name: "‖ε‖",
        format: (x) => short(x, 3) },
    });
  }

  set(probe, { points, sigmas }) {
    const { columns, bars } = series(points), summary = probe.summary ?? {};
    this.chart.setAll(columns, bars);
    const long = number(summary.suggested_radius) === null ? ""
      : `‖ε‖ ${short(summary.suggested_radius, 3)}`;
    tiles(this.tiles, [
      ["Loss here", short(summary.loss), "of the checkpoint"],
      ["Accuracy here", percent(summary.top1), `${probe.request.split} samples`],
      ["Gradient’s norm", short(summary.gradient_norm), ""],
      ["Weights’ norm", short(summary.weights_norm), ""],
      ...(probe.request.suggest ? [["Suggested σ", short(summary.suggested_sigma, 3), long]] : []),
    ]);
    this.side.replaceChildren(...(sigmas.length ? tried(sigmas) : []));
  }

  recolour() {
    this.chart.rebuild();
  }

  close() {
    this.chart.close();
  }
}

function tried(rows) {
  return [make("h3", {}, "What the suggestion follows from"), scrolled(table(
    "Expected loss over sigma", [
      { title: "σ", cell: (row) => short(row.sigma) },
      { title: "‖ε‖", cell: (row) => short(row.radius) },
      { title: "Loss", cell: (row) => short(row.loss) },
      { title: "Standard error", cell: (row) => short(row.standard_error, 2) },
      { title: "Rise", cell: (row) => short(row.rise) },
      { title: "Of what is learnt", cell: (row) => percent(row.share) },
    ], rows))];
}
