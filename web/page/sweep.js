// One sweep: how far it is, its table by point, its jobs, what can be done to it.
import { Actions } from "./actions.js";
import { get, post, remove } from "./daemon.js";
import { settings } from "./facts.js";
import { makeBar } from "./list.js";
import { countsText } from "./sweeps.js";
import { table } from "./table.js";
import { called, clock, count, counted, duration, make, number, percent, say, short }
  from "./text.js";

const AGAIN_MS = 1000;

const ACTIONS = {
  pause: { label: "Pause", when: ({ jobs }) => jobs.running + jobs.queued > 0 },
  resume: { label: "Resume", when: ({ jobs }) => jobs.paused > 0 },
  cancel: { label: "Cancel", when: ({ jobs }) => jobs.running + jobs.queued + jobs.paused > 0 },
  delete: { label: "Delete", when: ({ jobs }) => jobs.running + jobs.queued + jobs.paused === 0 },
};

const share = (x) => percent(x).replace("-", "−");

// How a measure is called and written; what is not here is called as the daemon calls it.
const MEASURES = {
  train_loss: { title: "Training loss", write: short },
  train_top1: { title: "Training acc.", write: share },
  test_top1: { title: "Test acc.", write: share },
  best_top1: { title: "Best test acc.", write: share },
  generalization_gap: { title: "Gap", write: share, doc: "Training less test accuracy." },
  gradient_evaluations: { title: "Gradients", cost: true, write: (x) => count(x) },
  seconds: { title: "Time", cost: true, write: (x) => duration(x) },
};

// What of a kind of probe tells most; the CSV file has all.
const PROBED = {
  spectrum: { lambda_max: "λ max", trace: "Trace" },
  sharpness: { worst_rise: "Worst rise", average_rise: "Average rise",
    average_loss: "Loss at w + ε" },
  radius: { suggested_sigma: "Suggested σ" },
  landscape: { loss_max: "Highest loss" },
};

// "/method/sigma" → "method sigma"
const words = (pointer) => pointer.split("/").slice(1)
  .map((part) => part.replaceAll("~1", "/").replaceAll("~0", "~").replaceAll("_", " ")).join(" ");

export function valueText(value) {
  if (Array.isArray(value)) return value.map(valueText).join(", ");
  if (value !== null && typeof value === "object") return settings(value);
  return String(value);
}

const isMeasure = (value) => value !== null && typeof value === "object" && "mean" in value;

// "87.6 ± 1.2 %", "0.767 ± 0.02"; the deviation is left out where there is none. A unit that both
// have stands once.
export function spread(measure, write) {
  if (number(measure.mean) === null) return "–";
  const mean = write(measure.mean, 3), deviation = write(measure.std, 2);
  if (number(measure.std) === null || measure.std === 0) return mean;
  const unit = / (%|s)$/.exec(deviation)?.[0];
  return `${unit && mean.endsWith(unit) ? mean.slice(0, -unit.length) : mean} ± ${deviation}`;
}

// Of the table: the values that differ, then what was measured.
export function columnsOf(rows, jobLinks) {
  const [first] = rows;
  const values = Object.keys(first.values).map((pointer) => ({
    title: words(pointer), text: true, cell: (row) => valueText(row.values[pointer]),
    value: ({ values: all }) => (typeof all[pointer] === "number" ? all[pointer]
      : valueText(all[pointer])),
  }));
  if (!values.length) values.push({ title: "Point", text: true, cell: (row) => row.label });
  const measures = Object.keys(first).filter((name) => isMeasure(first[name])).map((name) => {
    const { title = name.replaceAll("_", " "), write = short, doc, cost } = MEASURES[name] ?? {};
    return { title, doc, cost, cell: (row) => spread(row[name], write),
      value: (row) => number(row[name].mean) };
  });
  const probed = Object.entries(PROBED).flatMap(([kind, names]) => Object.entries(names)
    .filter(([name]) => rows.some((row) => row.probes?.[kind]?.[name]?.n))
    .map(([name, title]) => ({ title, doc: `Of the jobs' newest ${kind}.`,
      cell: (row) => spread(row.probes[kind]?.[name] ?? {}, short),
      value: (row) => number(row.probes[kind]?.[name]?.mean) })));
  return [...values,
    { title: "Seeds", doc: "Succeeded, of all.", value: (row) => row.succeeded,
      cell: (row) => `${row.succeeded} of ${row.seeds}` },
    { title: "Jobs", text: true, cell: jobLinks },
    ...measures.filter(({ cost }) => !cost), ...probed, ...measures.filter(({ cost }) => cost)];
}

export class SweepDetail {
  constructor(sweeps, id, host, { announce, confirm, leave }) {
    Object.assign(this, { sweeps, id, host, announce, confirm, leave, busy: false, closed: false });
    this.order = { column: 0, down: false };
    this.ordered = false; // somebody has chosen the order; until then it is the grid's
    this.title = make("h1");
    this.badge = make("span.badge");
    this.actions = new Actions(ACTIONS, (action) => this.act(action));
    this.bar = makeBar("progress of the sweep");
    this.where = make("p.where");
    this.table = make("div.scroll");
    this.about = make("p.small");
    this.csv = make("p.small", {}, make("a", { href: `/v1/sweeps/${id}?format=csv`,
      download: `sweep-${id}.csv` }, "the table as CSV"),
    " · mean ± standard deviation over the seeds whose jobs have succeeded");
    this.body = make("article", {}, make("a.back", { href: "#/" }, "‹ Jobs"),
      make("header.job-head", {}, make("div.job-title", {}, this.title, this.badge),
        this.actions.element),
      make("div.progress", {}, this.bar, this.where),
      make("section.probes.sweep", { "aria-label": "Table of the sweep" }, this.table, this.csv),
      this.about);
    this.listen = () => this.load();
    sweeps.addEventListener("changed", this.listen);
    host.replaceChildren(this.body);
    this.load();
  }

  async load() {
    if (this.closed) return;
    if (this.timer) {
      this.again = true;
      return;
    }
    this.timer = setTimeout(() => {
      this.timer = 0;
      if (this.again) this.load();
    }, AGAIN_MS);
    this.again = false;
    try {
      this.take(await get(`/v1/sweeps/${this.id}`));
    } catch (error) {
      if (error.status !== 404 && (this.sweep || this.closed)) this.announce(error.message);
      else if (!this.closed) this.missing(error);
    }
  }

  take(sweep) {
    if (this.closed) return;
    const before = this.sweep?.state;
    if (before && before !== sweep.state) {
      this.announce(`${called(sweep, "sweep")} is ${sweep.state}`);
    }
    this.sweep = sweep;
    this.show();
  }

  missing(error) {
    this.host.replaceChildren(make("div.nothing", {}, make("h1", {}, `Sweep ${this.id}`),
      make("p", {}, error.status === 404 ? "There is no such sweep." : error.message),
      make("a", { href: "#/" }, "All jobs")));
  }

  show() {
    const { sweep } = this;
    if (!sweep || this.closed) return;
    say(this.title, called(sweep, "sweep"));
    say(this.badge, sweep.state);
    this.badge.dataset.state = this.body.dataset.state = sweep.state;
    this.actions.show(sweep, this.busy || this.sweeps.store.offline);
    this.bar.value = number(sweep.progress) ?? 0;
    this.bar.hidden = sweep.state === "succeeded";
    say(this.where, [countsText(sweep), `${count(sweep.gradient_evaluations)} gradients`,
      `${duration(sweep.seconds)} of training`].join(" · "));
    const { model, dataset, epochs, updates } = sweep.spec.job;
    say(this.about, [`sweep ${sweep.id}`, ...[model, dataset].filter(Boolean).map(settings),
      ...(epochs ? [counted(epochs, "epoch")] : []),
      ...(updates ? [counted(updates, "update")] : []),
      ...(sweep.max_running ? [`at most ${count(sweep.max_running)} at a time`] : []),
      `submitted ${clock(sweep.created_at)}`].join(" · "));
    this.showTable(sweep.rows);
  }

  showTable(rows) {
    const key = JSON.stringify([rows, this.order, this.ordered]);
    if (this.made === key) return;
    this.made = key;
    const stops = () => [...this.table.querySelectorAll("thead button, tbody a")];
    const at = stops().indexOf(document.activeElement);
    const links = (row) => row.jobs.flatMap((id, i) => [i ? " " : "",
      make("a", { href: `#/jobs/${id}`, title: `job ${id}` }, `#${id}`)]);
    const chosen = this.ordered ? this.order : { column: -1, down: false };
    const columns = columnsOf(rows, links);
    this.table.replaceChildren(table("Results by point", columns, rows, chosen, (order) => {
      this.order = order;
      this.ordered = true;
      this.show();
    }));
    if (at >= 0) stops()[at]?.focus();
  }

  async act(action) {
    if (["cancel", "delete"].includes(action)
      && !(await this.confirm(this.sweep, action, "sweep"))) return;
    this.busy = true;
    this.show();
    try {
      if (action === "delete") {
        await remove(`/v1/sweeps/${this.id}`);
        this.announce(`${called(this.sweep, "sweep")}: deleted`);
        this.sweeps.touch();
        if (!this.closed) this.leave();
        return;
      }
      const { result, sweep } = await post(`/v1/sweeps/${this.id}/${action}`);
      this.announce(`${called(sweep, "sweep")}: ${result}`);
      this.busy = false;
      this.take(sweep);
    } catch (error) {
      this.announce(error.message, true);
    }
    this.busy = false;
    this.show();
    if (!this.closed) this.host.focus({ preventScroll: true });
  }

  // What the page tells either of its two kinds of things.
  choose() {}
  onProbe() {}
  recolour() {}

  close() {
    this.closed = true;
    clearTimeout(this.timer);
    this.sweeps.removeEventListener("changed", this.listen);
  }
}
