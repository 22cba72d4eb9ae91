// What a job has measured of its perturbation: norms, and the angle between the two gradients. There
// are no charts until there is a measurement; most jobs make none.
import { Chart } from "./charts.js";
import { extremes, POINTS } from "./history.js";
import { number, short } from "./text.js";

const NORMS = {
  title: "Norms", name: "norms", kind: "log", empty: "",
  format: (x) => short(x ?? NaN), tick: (x) => short(x, 1),
  lines: [
    { label: "perturbation", colour: "--warn", width: 2 },
    { label: "gradient", colour: "--train", width: 2 },
    { label: "perturbed gradient", colour: "--stem", width: 2 },
  ],
};

const COSINE = {
  title: "Cosine between the gradients", name: "cosine", kind: "linear", empty: "",
  format: (x) => short(x ?? NaN, 3), tick: (x) => String(Number(x.toPrecision(2))).replace("-", "−"),
  range: (low) => [low === null ? 0 : Math.min(0, Math.floor(low * 5) / 5), 1],
  lines: [{ label: "clean and perturbed", colour: "--train", width: 2 }],
};

const NAMES = ["perturbation_norm", "gradient_norm", "perturbed_gradient_norm", "cosine"];

// The measurements as columns. Null is a gap in a line, undefined none.
export class Measurements {
  constructor() {
    this.clear();
  }

  clear() {
    this.updates = [];
    this.columns = NAMES.map(() => []);
  }

  add(row) {
    if (row.update <= (this.updates.at(-1) ?? 0)) return;
    this.updates.push(row.update);
    NAMES.forEach((name, i) => this.columns[i].push(number(row[name])));
    if (this.updates.length <= 3 * POINTS) return;
    const keep = extremes(this.updates, this.columns, POINTS / 8);
    this.updates = keep.map((i) => this.updates[i]);
    this.columns = this.columns.map((column) => keep.map((i) => column[i]));
  }

  norms() {
    const place = (x) => (x === null ? undefined : x > 0 && Number.isFinite(x) ? x : null);
    return [this.updates, ...this.columns.slice(0, 3).map((column) => column.map(place))];
  }

  cosine() {
    const place = (x) => (x === null ? undefined : Number.isFinite(x) ? x : null);
    return [this.updates, this.columns[3].map(place)];
  }
}

export class Telemetry {
  // host: where the charts of the job are
  constructor(host) {
    this.host = host;
    this.rows = new Measurements();
    this.charts = [];
  }

  get any() {
    return this.rows.updates.length > 0;
  }

  // last, total: see Chart.set
  draw(last, total) {
    if (!this.any) {
      this.close();
      return;
    }
    if (!this.charts.length) this.charts = [NORMS, COSINE].map((what) => new Chart(this.host, what));
    const [norms, cosine] = this.charts;
    norms.set(this.rows.norms(), last, total);
    cosine.set(this.rows.cosine(), last, total);
    // Methods of one gradient have no angle.
    cosine.figure.hidden = this.rows.columns[3].every((value) => value === null);
  }

  recolour() {
    this.charts.forEach((chart) => chart.rebuild());
  }

  close() {
    this.charts.forEach((chart) => chart.close());
    this.charts = [];
  }
}
