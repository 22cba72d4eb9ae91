// The probes of a job: a list, a form that asks for another one, and the chosen one's results. What
// is new comes with the job's events.
import { get, post } from "./daemon.js";
import { ProbeForm } from "./form.js";
import { makeBar, stateMark } from "./list.js";
import { Result } from "./result.js";
import { ENDED } from "./store.js";
import { count, make, number, say, short } from "./text.js";

const NONE = "None yet. A probe measures the loss surface at a checkpoint: its curvature, its shape,"
  + " how far the weights may be moved.";
const NOTHING = "None: the job has ended without a checkpoint, so there is nothing to measure.";
const MOST = 200; // the daemon's limit of a page

// What matters most about its result, once that is known.
function headline({ kind, summary, request }) {
  const known = (name) => number(summary?.[name]) !== null;
  if (kind === "spectrum" && known("lambda_max")) return `λ max ${short(summary.lambda_max, 3)}`;
  if (kind === "sharpness" && known("worst_rise")) {
    return `rise ${short(summary.worst_rise, 3)} at ρ ${short(summary.rho, 2)}`;
  }
  if (kind === "landscape" && known("loss_max")) {
    return `loss ${short(summary.loss_min, 3)} to ${short(summary.loss_max, 3)}`;
  }
  if (kind === "radius" && known("suggested_sigma")) {
    return `σ ${short(summary.suggested_sigma, 2)} suggested`;
  }
  return kind === "radius" && known("loss") ? `${count(request.points)} radii` : "";
}

export function wishText({ state, wish }) {
  return wish === "cancel" && !ENDED.has(state) ? "cancelling" : state;
}

class Row {
  constructor(job, number, cancel) {
    this.link = make("a", { href: `#/jobs/${job}/probes/${number}` });
    this.mark = make("span.mark", { "aria-hidden": "true" });
    this.state = make("span");
    this.bar = makeBar(`progress of probe ${number}`);
    this.update = make("td.number");
    this.head = make("td.words");
    this.button = make("button", { type: "button", "aria-label": `Cancel probe ${number}` },
      "Cancel");
    this.button.addEventListener("click", cancel);
    this.row = make("tr", {}, make("th.words", { scope: "row" }, this.link), this.update,
      make("td.words.state", {}, this.mark, this.state, this.bar), this.head,
      make("td", {}, this.button));
    this.row.dataset.probe = number;
  }

  show(probe, chosen) {
    this.row.dataset.state = probe.state;
    say(this.link, `${probe.number} · ${probe.kind}`);
    say(this.update, count(probe.update));
    say(this.mark, stateMark(probe.state));
    say(this.state, wishText(probe));
    this.bar.hidden = probe.state !== "running";
    this.bar.value = number(probe.progress) ?? 0;
    say(this.head, headline(probe));
    this.button.hidden = ENDED.has(probe.state) || probe.wish === "cancel";
    if (chosen) this.link.setAttribute("aria-current", "true");
    else this.link.removeAttribute("aria-current");
  }
}

export class Probes {
  constructor(host, job, { announce }) {
    Object.assign(this, { job, announce, probes: new Map(), rows: new Map(), chosen: null });
    this.result = null;
    this.closed = false;
    this.form = new ProbeForm(job, (probe) => this.asked(probe));
    this.ask = make("button", { type: "button", "aria-expanded": "false" }, "New probe");
    this.ask.addEventListener("click", () => this.toggle());
    this.none = make("p.small", {}, NONE);
    this.body = make("tbody");
    const heads = ["Probe", "Checkpoint", "State", "Result"].map((title, i) =>
      make(i === 1 ? "th.number" : "th.words", { scope: "col" }, title));
    heads.push(make("th", { scope: "col" }, make("span.hidden-text", {}, "Action")));
    this.list = make("div.scroll", {}, make("table.results", {},
      make("caption.hidden-text", {}, "Probes of this job"),
      make("thead", {}, make("tr", {}, ...heads)), this.body));
    this.shown = make("div.result");
    host.append(make("div.section-head", {}, make("h2", {}, "Probes"), this.ask), this.form.form,
      this.none, this.list, this.shown);
    this.show();
  }

  toggle() {
    if (this.form.form.hidden) this.form.open();
    else this.form.form.hidden = true;
    this.ask.setAttribute("aria-expanded", String(!this.form.form.hidden));
  }

  async load() {
    const { probes } = await get(`/v1/jobs/${this.job}/probes?limit=${MOST}`);
    for (const probe of probes) this.probes.set(probe.number, probe);
    this.loaded = true;
    this.show();
    this.seek();
  }

  async fetch(n) {
    const before = this.probes.get(n);
    const probe = await get(`/v1/jobs/${this.job}/probes/${n}`);
    if (this.closed) return;
    this.probes.set(n, probe);
    if (before && before.state !== probe.state) this.announce(`Probe ${n}: ${wishText(probe)}`);
    this.show();
  }

  onEvent({ type, data }) {
    const probe = this.probes.get(data.number);
    if (type === "probe" || !probe) {
      this.fetch(data.number).catch((error) => this.announce(error.message));
      return;
    }
    probe.progress = data.progress;
    this.show();
  }

  asked(probe) {
    this.probes.set(probe.number, probe);
    this.ask.setAttribute("aria-expanded", "false");
    this.announce(`Probe ${probe.number} is ${probe.state}`);
    location.hash = `#/jobs/${this.job}/probes/${probe.number}`;
    this.show();
    this.ask.focus({ preventScroll: true });
  }

  async cancel(n) {
    try {
      const { result } = await post(`/v1/jobs/${this.job}/probes/${n}/cancel`);
      this.announce(`Probe ${n}: ${result}`);
      await this.fetch(n);
    } catch (error) {
      this.announce(error.message, true);
    }
  }

  // Null: nobody has chosen, and the newest is shown.
  choose(n) {
    this.chosen = n;
    this.show();
    this.seek();
  }

  // The list has the newest ones only; an older one can be chosen by its address.
  seek() {
    if (!this.loaded || this.chosen === null || this.probes.has(this.chosen)) return;
    this.fetch(this.chosen).catch((error) => this.announce(error.message, true));
  }

  setOffline(offline) {
    if (this.offline === offline) return;
    this.offline = offline;
    this.form.setOffline(offline);
    for (const { button } of this.rows.values()) button.disabled = offline;
  }

  // A job that has ended without a checkpoint has nothing to measure, unless it is resumed.
  setJob({ state, checkpoint_update: update }) {
    const nothing = ENDED.has(state) && update === null;
    this.ask.hidden = nothing;
    if (nothing && !this.form.form.hidden) this.toggle();
    say(this.none, nothing ? NOTHING : NONE);
  }

  setCheckpoints(checkpoints) {
    this.form.setCheckpoints(checkpoints);
  }

  show() {
    const all = [...this.probes.values()].sort((a, b) => b.number - a.number);
    const chosen = this.probes.get(this.chosen) ?? all[0] ?? null;
    this.none.hidden = all.length > 0;
    this.list.hidden = all.length === 0;
    all.forEach((probe, i) => {
      let row = this.rows.get(probe.number);
      if (!row) {
        row = new Row(this.job, probe.number, () => this.cancel(probe.number));
        this.rows.set(probe.number, row);
      }
      row.show(probe, probe === chosen);
      const before = this.body.children[i] ?? null;
      if (before !== row.row) this.body.insertBefore(row.row, before);
    });
    this.showResult(chosen);
  }

  showResult(probe) {
    if (this.result && this.result.number !== probe?.number) {
      this.result.close();
      this.result = null;
    }
    if (!probe) return;
    if (!this.result) this.result = new Result(this.shown, probe);
    this.result.show(probe);
  }

  recolour() {
    this.result?.recolour();
  }

  close() {
    this.closed = true;
    this.result?.close();
  }
}
