// The sweeps as the page knows them, newest first, and their list above that of the jobs.
import { get } from "./daemon.js";
import { makeBar, stateMark } from "./list.js";
import { called, count, make, number, say } from "./text.js";

const MOST = 50;        // sweeps of the list
const GATHER_MS = 500;  // events that come close together become one request
const LOOK_MS = 3000;   // progress within a job's epoch has no event of its own

export class Sweeps extends EventTarget {
  // store: of the jobs, whose changes are those of sweeps
  constructor(store, section, host) {
    super();
    Object.assign(this, { store, section, host, selected: null, timer: 0 });
    this.sweeps = [];
    this.rows = new Map();
    store.addEventListener("changed", ({ detail: ids }) => {
      if (ids.some((id) => !store.jobs.has(id) || store.jobs.get(id).sweep)) this.touch();
    });
    // Its table has what the probes of its jobs found.
    store.addEventListener("probe", ({ detail: { job } }) => {
      if (store.jobs.get(job)?.sweep) this.touch();
    });
    store.addEventListener("link", ({ detail: { state } }) => {
      if (state === "live") this.touch();
    });
    setInterval(() => {
      if (!document.hidden && this.sweeps.some(({ state }) => state === "running")) this.touch();
    }, LOOK_MS);
  }

  // Asks again, soon.
  touch() {
    this.timer ||= setTimeout(() => this.load(), GATHER_MS);
  }

  async load() {
    try {
      this.sweeps = (await get(`/v1/sweeps?limit=${MOST}`)).sweeps;
      this.show();
      this.dispatchEvent(new Event("changed"));
    } catch {
      // The stream's state tells the user; when it lives again, so does this.
    } finally {
      this.timer = 0;
    }
  }

  show() {
    const there = new Set(this.sweeps.map(({ id }) => id));
    for (const [id, row] of this.rows) {
      if (there.has(id)) continue;
      row.item.remove();
      this.rows.delete(id);
    }
    this.section.hidden = this.sweeps.length === 0;
    this.sweeps.forEach((sweep, i) => {
      let row = this.rows.get(sweep.id);
      if (!row) this.rows.set(sweep.id, (row = new Row(sweep.id)));
      row.show(sweep, sweep.id === this.selected);
      const at = this.host.children[i] ?? null;
      if (at !== row.item) this.host.insertBefore(row.item, at);
    });
  }
}

export function countsText({ jobs, points }) {
  const parts = ["running", "queued", "paused", "failed", "cancelled"]
    .filter((state) => jobs[state]).map((state) => `${count(jobs[state])} ${state}`);
  return [`${count(jobs.succeeded)} of ${count(points)} jobs succeeded`, ...parts].join(" · ");
}

class Row {
  constructor(id) {
    this.mark = make("span.mark", { "aria-hidden": "true" });
    this.name = make("span.name");
    this.state = make("span.hidden-text");
    this.about = make("span.about");
    this.bar = makeBar("progress");
    this.link = make("a.row", { href: `#/sweeps/${id}` }, this.mark, this.name, this.state,
      this.bar, this.about);
    this.item = make("li", {}, this.link);
  }

  show(sweep, selected) {
    this.link.dataset.state = sweep.state;
    this.link.dataset.sweep = sweep.id;
    say(this.mark, stateMark(sweep.state));
    this.mark.title = sweep.state;
    say(this.state, `, ${sweep.state},`);
    say(this.name, called(sweep, "sweep"));
    say(this.about, countsText(sweep));
    this.bar.value = number(sweep.progress) ?? 0;
    this.bar.hidden = !["running", "queued", "paused"].includes(sweep.state);
    if (selected) this.link.setAttribute("aria-current", "true");
    else this.link.removeAttribute("aria-current");
  }
}
