// What a job has recorded, as columns for the charts: history first, then the event stream. At most
// so many points are kept; beyond that neighbours are thinned to their lowest and highest, as the
// daemon does for ?points=, so that no spike is lost.
import { number } from "./text.js";

export const POINTS = 2000;

// The places of the lowest and highest value of each column in each of `buckets` equal stretches of
// `x`, so that what was thinned before is not thinned more than the rest.
export function extremes(x, columns, buckets) {
  const n = x.length, width = (x[n - 1] - x[0] + 1) / buckets, keep = new Set([0, n - 1]);
  for (let from = 0, to; from < n; from = to) {
    const bucket = Math.floor((x[from] - x[0]) / width);
    for (to = from + 1; to < n && Math.floor((x[to] - x[0]) / width) === bucket; to++);
    for (const column of columns) {
      let low = -1, high = -1;
      for (let i = from; i < to; i++) {
        if (column[i] === null || Number.isNaN(column[i])) continue;
        if (low < 0 || column[i] < column[low]) low = i;
        if (high < 0 || column[i] > column[high]) high = i;
      }
      if (low >= 0) keep.add(low).add(high);
    }
  }
  return [...keep].sort((a, b) => a - b);
}

export class History {
  constructor() {
    this.clear();
  }

  clear() {
    this.updates = [];
    this.clean = [];
    this.perturbed = [];
    this.epochs = [];
    this.firstNaN = null; // update of the first loss that was no number
  }

  get lastUpdate() {
    return this.updates.length ? this.updates[this.updates.length - 1] : 0;
  }

  // How many times the first loss the highest one is; infinities are no heights.
  get rise() {
    const values = [...this.clean, ...this.perturbed, ...this.epochs.map((e) => e.testLoss)]
      .filter(Number.isFinite);
    return values.length ? values.reduce((a, b) => Math.max(a, b)) / values[0] : 0;
  }

  get hasPerturbed() {
    return this.perturbed.some((value) => value !== null);
  }

  addLoss(row) {
    if (row.update <= this.lastUpdate) return;
    const loss = number(row.loss);
    this.updates.push(row.update);
    this.clean.push(loss);
    this.perturbed.push(number(row.perturbed_loss));
    if (this.firstNaN === null && loss !== null && !Number.isFinite(loss)) {
      this.firstNaN = row.update;
    }
    if (this.updates.length > 3 * POINTS) this.thin();
  }

  thin() {
    const keep = extremes(this.updates, [this.clean, this.perturbed], POINTS / 4);
    for (const name of ["updates", "clean", "perturbed"]) {
      this[name] = keep.map((i) => this[name][i]);
    }
  }

  addEpoch(row) {
    const last = this.epochs[this.epochs.length - 1];
    if (last && row.epoch <= last.epoch) return;
    if (this.epochs.length > 3 * POINTS) this.thinEpochs();
    this.epochs.push({
      epoch: row.epoch,
      update: row.update,
      trainLoss: number(row.train_loss),
      trainTop1: number(row.train_top1),
      testLoss: number(row.test_loss),
      testTop1: number(row.test_top1),
      testTop5: number(row.test_top5),
      seconds: number(row.seconds),
    });
  }

  // Whether each clean loss is the perturbed one: methods whose only pass is perturbed.
  get onlyPerturbed() {
    return this.hasPerturbed && this.clean.every((value, i) => Object.is(value, this.perturbed[i]));
  }

  thinEpochs() {
    const column = (name) => this.epochs.map((e) => e[name]);
    const keep = extremes(column("update"), [column("testTop1"), column("testLoss")], POINTS / 4);
    this.epochs = keep.map((i) => this.epochs[i]);
  }

  // [updates, clean, perturbed, epoch's training loss, test loss] on one common axis: losses by
  // update, epochs where they ended. null is a gap in the line: a loss that was no finite number,
  // or has no logarithm; undefined is none: this line has no point here.
  lossColumns(logarithmic) {
    const columns = [[], [], [], [], []];
    const gap = (x) => (Number.isFinite(x) && (!logarithmic || x > 0) ? x : null);
    const onlyPerturbed = this.onlyPerturbed;
    let i = 0, e = 0;
    while (i < this.updates.length || e < this.epochs.length) {
      const loss = this.updates[i] ?? Infinity, epoch = this.epochs[e]?.update ?? Infinity;
      const at = Math.min(loss, epoch), row = [at];
      if (loss === at) {
        row[1] = onlyPerturbed ? undefined : gap(this.clean[i]);
        row[2] = this.perturbed[i] === null ? undefined : gap(this.perturbed[i]);
        i++;
      }
      if (epoch === at) {
        row[3] = gap(this.epochs[e].trainLoss);
        row[4] = this.epochs[e].testLoss === null ? undefined : gap(this.epochs[e].testLoss);
        e++;
      }
      columns.forEach((column, k) => column.push(row[k]));
    }
    return columns;
  }

  accuracyColumns() {
    const tested = (value) => (value === null ? undefined : value);
    return [
      this.epochs.map((e) => e.update),
      this.epochs.map((e) => tested(e.testTop1)),
      this.epochs.map((e) => tested(e.trainTop1)),
      this.epochs.map((e) => tested(e.testTop5)),
    ];
  }
}
