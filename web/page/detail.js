// One job: what it is, how it goes, its curves, what can be done to it.
import { Actions } from "./actions.js";
import { Chart } from "./charts.js";
import { events, get, post, remove } from "./daemon.js";
import { History, POINTS } from "./history.js";
import { facts, fileRows, epochRows } from "./facts.js";
import { makeBar, progressOf, stateText } from "./list.js";
import { Probes } from "./probes.js";
import { ENDED } from "./store.js";
import { Telemetry } from "./telemetry.js";
import { tiles } from "./tiles.js";
import { called, compact, count, duration, make, number, percent, say, short } from "./text.js";

const MESSAGES = 50; // as many as the daemon lists
const DRAW_MS = 150; // updates come by the thousand; eyes do not
const WILD = 100;    // losses that rise so many times over the first one are shown on a log scale

const LOSS = {
  title: "Loss", name: "loss", kind: "linear", empty: "No update yet",
  format: (x) => short(x ?? NaN), tick: compact,
  lines: [
    { label: "clean", colour: "--clean", width: 1 },
    { label: "perturbed", colour: "--perturbed", width: 1 },
    { label: "epoch's mean", colour: "--train", width: 2 },
    { label: "test", colour: "--test", width: 2 },
  ],
};

const ACCURACY = {
  title: "Accuracy", name: "accuracy", kind: "share", empty: "No epoch yet",
  format: (x) => percent(x), tick: (x) => `${Math.round(100 * x)} %`,
  lines: [
    { label: "test", colour: "--test", width: 2 },
    { label: "training", colour: "--train", width: 2 },
    { label: "test, top 5", colour: "--soft", width: 1, hidden: true },
  ],
};

const ACTIONS = {
  pause: { label: "Pause", when: (job) => ["running", "queued"].includes(job.state) && !job.wish },
  resume: { label: "Resume", when: (job) => ["paused", "failed"].includes(job.state) },
  cancel: { label: "Cancel", when: (job) => !ENDED.has(job.state) && job.wish !== "cancel" },
  delete: { label: "Delete", when: (job) => ENDED.has(job.state) && !job.sweep },
};

export class Detail {
  constructor(store, id, host, { announce, confirm, leave }) {
    Object.assign(this, { store, id, host, announce, confirm, leave });
    this.history = new History();
    this.closed = false;
    this.over = false;   // its stream has ended for good
    this.busy = false;   // an action is under way
    this.scaled = false; // somebody has chosen the scale
    this.timer = 0;
    this.loading = null; // events that came while history is being loaded
    this.messages = [];  // newest first
    this.live = {};      // newer than what the store has: update, loss, …
    this.build();
    this.load();
  }

  build() {
    this.title = make("h1");
    this.badge = make("span.badge");
    this.actions = new Actions(ACTIONS, (action) => this.act(action));
    this.reason = make("p.reason", { hidden: true });
    this.bar = makeBar("progress of the job");
    this.where = make("p.where");
    this.sweep = make("a.sweep-link", { hidden: true }, "part of a sweep");
    this.tiles = make("dl.tiles");
    this.charts = make("div.charts");
    const probes = make("section.probes", { "aria-label": "Probes" });
    this.facts = make("div.facts");
    this.body = make("article", {},
      make("a.back", { href: "#/" }, "‹ Jobs"),
      make("header.job-head", {}, make("div.job-title", {}, this.title, this.badge),
        this.actions.element),
      this.reason, make("div.progress", {}, this.bar,
        make("div.where-line", {}, this.where, this.sweep)), this.tiles, this.charts,
      probes, this.facts);
    this.host.replaceChildren(this.body);
    this.probes = new Probes(probes, this.id, { announce: this.announce });
    this.loss = new Chart(this.charts, { ...LOSS });
    this.accuracy = new Chart(this.charts, { ...ACCURACY });
    this.telemetry = new Telemetry(this.charts);
    this.scale = make("button.plain", { type: "button", "aria-pressed": "false" }, "log scale");
    this.scale.addEventListener("click", () => {
      this.scaled = true;
      this.setScale(!this.logarithmic);
      this.draw();
    });
    this.loss.tools.append(this.scale);
  }

  get logarithmic() {
    return this.loss.options.kind === "log";
  }

  setScale(log) {
    this.loss.options.kind = log ? "log" : "linear";
    this.scale.setAttribute("aria-pressed", String(log));
    this.loss.rebuild();
  }

  async load() {
    this.show();
    try {
      // A list leaves the facts out.
      if (!this.store.jobs.get(this.id)?.facts) await this.store.fetch(this.id);
    } catch (error) {
      if (!this.closed && !this.store.jobs.has(this.id)) this.missing(error);
    }
    if (this.closed) return;
    this.show();
    this.follow();
  }

  missing(error) {
    this.close();
    this.host.replaceChildren(make("div.nothing", {}, make("h1", {}, `Job ${this.id}`),
      make("p", {}, error.status === 404 ? "There is no such job." : error.message),
      make("a", { href: "#/" }, "All jobs")));
  }

  // The stream is opened first and history is read when it stands: nothing falls in between.
  follow() {
    this.over = false;
    this.stop = events(`/v1/jobs/${this.id}/events`, {
      event: (event) => this.onEvent(event),
      state: (state) => {
        if (state === "live") this.reload();
      },
      ended: () => {
        this.over = true;
        this.store.touch(this.id);
      },
    });
  }

  choose(probe) {
    this.probes.choose(probe);
  }

  // The stream of a job that has ended is over, until a probe of it is asked for or it is resumed.
  onProbe() {
    if (!this.closed && this.over) this.follow();
  }

  async reload() {
    if (this.loading) return;
    this.loading = [];
    try {
      const [{ losses }, { epochs }, { telemetry }] = await Promise.all(["losses", "epochs",
        "telemetry"].map((series) => get(`/v1/jobs/${this.id}/${series}?points=${POINTS}`)));
      if (this.closed) return;
      this.history.clear();
      this.telemetry.rows.clear();
      losses.forEach((row) => this.history.addLoss(row));
      epochs.forEach((row) => this.history.addEpoch(row));
      telemetry.forEach((row) => this.telemetry.rows.add(row));
      await Promise.all([this.loadCheckpoints(), this.loadMessages(), this.probes.load()]);
    } catch (error) {
      this.announce(error.message);
    }
    const waiting = this.loading;
    this.loading = null;
    if (this.closed) return;
    waiting.forEach((event) => this.onEvent(event));
    this.draw();
  }

  async loadMessages() {
    this.messages = (await get(`/v1/jobs/${this.id}/messages`)).messages;
  }

  async loadCheckpoints() {
    this.checkpoints = (await get(`/v1/jobs/${this.id}/checkpoints`)).checkpoints;
    this.probes.setCheckpoints(this.checkpoints);
  }

  onEvent(event) {
    if (this.loading) {
      this.loading.push(event);
      return;
    }
    const { type, data } = event;
    if (type.startsWith("probe")) {
      this.probes.onEvent(event);
      return;
    }
    if (type === "update") {
      this.history.addLoss(data.loss);
      this.live = data.loss;
    } else if (type === "epoch") {
      this.history.addEpoch(data.epoch);
      this.store.touch(this.id);
    } else if (type === "telemetry") {
      this.telemetry.rows.add(data.telemetry);
    } else if (type === "message") {
      // One that came while they were being loaded may be among those.
      const same = ({ at, text }) => at === data.at && text === data.text;
      if (!this.messages.some(same)) this.messages = [data, ...this.messages].slice(0, MESSAGES);
    } else if (type === "checkpoint") {
      this.loadCheckpoints().then(() => this.drawSoon(), () => {});
    } else if (type === "state") {
      this.store.touch(this.id);
      // A start goes on from a checkpoint: what came after it is no longer so.
      if (data.state === "running" && this.history.lastUpdate > data.from_update) this.reload();
    }
    this.drawSoon();
  }

  drawSoon() {
    if (this.timer) return;
    this.timer = setTimeout(() => requestAnimationFrame(() => {
      this.timer = 0;
      if (!this.closed) this.draw();
    }), DRAW_MS);
  }

  draw() {
    const job = this.store.jobs.get(this.id);
    if (!job) return; // it was deleted a moment ago
    const { history } = this;
    const { lastUpdate } = history;
    const wild = history.rise > WILD;
    if (!this.scaled && wild !== this.logarithmic) this.setScale(wild);
    this.loss.set(history.lossColumns(this.logarithmic), lastUpdate, job.updates);
    this.accuracy.set(history.accuracyColumns(), lastUpdate, job.updates);
    this.telemetry.draw(lastUpdate, job.updates);
    this.show();
  }

  // The store's job, with what the stream has brought since.
  now() {
    const job = this.store.jobs.get(this.id);
    if (!job) return null;
    const { live } = this;
    if (job.state !== "running" || !(live.update > job.updates_done)) return job;
    return { ...job, updates_done: live.update, progress: live.update / job.updates,
      loss: live.loss, perturbed_loss: live.perturbed_loss };
  }

  show() {
    const job = this.now();
    if (!job || this.closed) return;
    const ended = ENDED.has(job.state);
    if (this.over && this.ended && !ended) this.follow();
    this.ended = ended;
    const state = stateText(job);
    if (this.state && this.state !== state) this.announce(`${called(job)} is ${state}`);
    this.state = state;
    say(this.title, called(job));
    say(this.badge, state);
    this.badge.dataset.state = job.state;
    this.body.dataset.state = job.state;
    this.actions.show(job, this.busy || this.store.offline);
    this.probes.setOffline(this.store.offline);
    this.probes.setJob(job);
    this.showReason(job);
    this.bar.value = progressOf(job);
    this.bar.hidden = job.state === "succeeded";
    say(this.where, this.whereText(job));
    this.sweep.hidden = !job.sweep;
    if (job.sweep) this.sweep.href = `#/sweeps/${job.sweep.id}`;
    this.showTiles(job);
    facts(this.facts, job, fileRows(job, this.checkpoints ?? [], this.telemetry.any),
      epochRows(this.history), this.messages);
  }

  showReason(job) {
    const nan = this.history.firstNaN;
    const text = job.reason
      || (nan === null ? "" : `The loss is no finite number from update ${count(nan)} on.`);
    this.reason.hidden = !text;
    this.reason.dataset.state = job.state;
    say(this.reason, text);
  }

  whereText(job) {
    const parts = [`update ${count(job.updates_done)} of ${count(job.updates)}`];
    if (job.spec.epochs) parts.push(`epoch ${count(job.epoch)} of ${count(job.spec.epochs)}`);
    if (job.state === "running") {
      const speed = number(job.updates_per_second);
      if (speed) parts.push(`${speed < 100 ? short(speed, 3) : count(speed)} updates/s`);
      if (number(job.eta_seconds) !== null) parts.push(`${duration(job.eta_seconds)} left`);
    }
    return parts.join(" · ");
  }

  showTiles(job) {
    const perturbed = number(job.perturbed_loss) === null ? null : short(job.perturbed_loss);
    const best = number(job.best_top1) === null ? ""
      : `best ${percent(job.best_top1)} in epoch ${job.best_epoch}`;
    const rows = [
      ["Test accuracy", percent(job.test_top1), best],
      ["Test loss", short(job.test_loss), ""],
      ["Training loss", short(job.train_loss), job.epoch ? `mean of epoch ${job.epoch}` : ""],
      ["Last update", short(job.loss), perturbed === null ? "" : `perturbed ${perturbed}`],
      ["Gradients", count(job.gradient_evaluations), `${duration(job.seconds)} of training`],
    ];
    tiles(this.tiles, rows);
  }

  async act(action) {
    const job = this.store.jobs.get(this.id);
    if (!job) return;
    if (["cancel", "delete"].includes(action) && !(await this.confirm(job, action, "job"))) return;
    this.busy = true;
    this.show();
    try {
      if (action === "delete") {
        await remove(`/v1/jobs/${this.id}`);
        this.announce(`${called(job)}: deleted`);
        this.store.forget(this.id);
        if (!this.closed) this.leave();
        return;
      }
      const answer = await post(`/v1/jobs/${this.id}/${action}`);
      this.announce(`${called(job)}: ${answer.result}`);
    } catch (error) {
      this.announce(error.message, true);
    }
    this.busy = false;
    this.show();
    this.store.touch(this.id);
    if (!this.closed) this.host.focus({ preventScroll: true });
  }

  recolour() {
    this.loss.rebuild();
    this.accuracy.rebuild();
    this.telemetry.recolour();
    this.probes.recolour();
  }

  close() {
    if (this.closed) return;
    this.closed = true;
    clearTimeout(this.timer);
    if (this.stop) this.stop();
    this.loss.close();
    this.accuracy.close();
    this.telemetry.close();
    this.probes.close();
  }
}
