// The spectrum of the Hessian: its density as a curve, the quadrature's nodes as stems, and numbers.
import { Chart } from "./charts.js";
import { extent } from "./scale.js";
import { scrolled, table } from "./table.js";
import { tiles } from "./tiles.js";
import { compact, count, make, number, percent, short } from "./text.js";

const LEAST_VARIANCE = 1e-5; // of the density's Gaussians, per range of eigenvalues: PyHessian's
const DEEPEST = 1e-12;       // so far below the density's peak stems are shown

export const needs = ["density", "nodes", "eigenvalues", "layers"];

const columnOf = (rows, name) => rows.map((row) => number(row[name]));

// The Gaussians' standard deviation.
function deviation(variance, nodes) {
  const [low, high] = extent(columnOf(nodes, "value")) ?? [0, 0];
  return Math.sqrt(number(variance) || LEAST_VARIANCE * Math.max(1, high - low));
}

// How high the peak is that a node of weight 1 makes in the density: with stems in that unit, the
// stem of an eigenvalue that stands alone ends where its peak does.
export function peakOf(request, nodes) {
  const runs = new Set(nodes.map((node) => node.run)).size;
  return 1 / (runs * deviation(request.variance, nodes) * Math.sqrt(2 * Math.PI));
}

// [λ, density, stems] on one ascending axis, and the lowest that is to be shown. The density falls
// to nothing between the eigenvalues, which has no logarithm: there it leaves the picture.
export function columns(density, nodes, peak) {
  const stems = nodes.map((node) => ({ value: number(node.value), stem: node.weight * peak }));
  const heights = [...columnOf(density, "density"), ...stems.map(({ stem }) => stem)];
  const [, highest] = extent(heights) ?? [0, 1];
  const seen = stems.filter(({ stem }) => stem > DEEPEST * highest);
  const [least] = extent([highest / 1e3, ...seen.map(({ stem }) => stem)]);
  const floor = 10 ** Math.floor(Math.log10(least / 2));
  const points = [
    ...density.map((row) =>
      [number(row.value), Math.max(number(row.density), floor / 10), undefined]),
    ...seen.map(({ value, stem }) => [value, undefined, stem]),
  ].sort((a, b) => a[0] - b[0]);
  return { columns: [0, 1, 2].map((k) => points.map((point) => point[k])), floor };
}

const residual = (x) => (number(x) === null ? "" : `residual ${short(x, 2)}`);

export class Spectrum {
  constructor(host) {
    this.tiles = make("dl.tiles");
    this.charts = make("div.charts.wide");
    this.tables = make("div.side");
    host.append(this.tiles, this.charts, this.tables);
    this.peak = 1;
    this.floor = 1e-6;
    this.chart = new Chart(this.charts, {
      title: "Density of the eigenvalues", name: "spectrum", kind: "log",
      empty: "No eigenvalue yet", format: (x) => short(x, 3), tick: compact,
      range: (low, high) => (high ? [this.floor, 10 ** Math.ceil(Math.log10(high * 1.05))] : null),
      x: { kind: "linear", label: "λ, eigenvalue of the Hessian", name: "λ", air: 0.015,
        format: (x) => short(x) },
      lines: [
        { label: "density", colour: "--train", width: 2 },
        { label: "nodes, by their weight", colour: "--stem", width: 1, stems: true,
          title: "Ritz values of all Lanczos runs; one that stands alone is as high as its peak",
          format: (x) => short(x / this.peak, 3) },
      ],
    });
  }

  set(probe, { density, nodes, eigenvalues, layers }) {
    const summary = probe.summary ?? {};
    tiles(this.tiles, [
      ["λ max", short(summary.lambda_max), residual(summary.lambda_max_residual)],
      ["λ min", short(summary.lambda_min), residual(summary.lambda_min_residual)],
      ["Trace", short(summary.trace), number(summary.trace_standard_error) === null
        ? "" : `± ${short(summary.trace_standard_error, 2)}`],
      ["Gradient’s norm", short(summary.gradient_norm), ""],
      ["Loss", short(summary.loss), number(summary.top1) === null ? ""
        : `accuracy ${percent(summary.top1)}`],
      ["Hessian products", count(summary.products), number(summary.samples) === null ? ""
        : `of ${count(summary.samples)} samples`],
    ]);
    if (nodes.length) {
      this.peak = peakOf(probe.request, nodes);
      const drawn = columns(density, nodes, this.peak);
      this.floor = drawn.floor;
      this.chart.setAll(drawn.columns);
    }
    this.tables.replaceChildren(...largest(eigenvalues), ...blocks(layers));
  }

  recolour() {
    this.chart.rebuild();
  }

  close() {
    this.chart.close();
  }
}

function largest(rows) {
  if (!rows.length) return [];
  return [make("h3", {}, "Largest eigenvalues"), scrolled(table("Largest eigenvalues", [
    { title: "", cell: (row) => `λ ${row.number}` },
    { title: "Value", cell: (row) => short(row.value, 6) },
    { title: "Residual", doc: "An eigenvalue is at most that far away.",
      cell: (row) => short(row.residual, 3) },
  ], rows))];
}

function blocks(rows) {
  if (!rows.length) return [];
  const spectra = rows.some((row) => !Number.isNaN(number(row.lambda_max)));
  return [make("h3", {}, "By parameter"), scrolled(table(
    "Blocks of the Hessian that belong to one parameter, in the checkpoint's order", [
      { title: "Parameter", cell: (row) => String(row.parameter) },
      { title: "Size", cell: (row) => count(row.size) },
      { title: "Trace",
        cell: (row) => `${short(row.trace)} ± ${short(row.trace_standard_error, 2)}` },
      ...(spectra ? [{ title: "λ max", cell: (row) => short(row.lambda_max) },
        { title: "λ min", cell: (row) => short(row.lambda_min) }] : []),
    ], rows))];
}
