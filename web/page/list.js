// The list of jobs: a row a job, changed in place, so that nothing flickers and the focus stays.
import { Counts } from "./counts.js";
import { ENDED } from "./store.js";
import { ago, called, clock, duration, make, number, percent, say } from "./text.js";

const MARKS = {
  queued: "◌", running: "●", paused: "‖", succeeded: "✓", failed: "✕", cancelled: "–",
};

export const stateMark = (state) => MARKS[state] ?? "?";

export function stateText(job) {
  if (job.state === "running" && job.wish === "pause") return "pausing";
  if (job.state === "running" && job.wish === "cancel") return "cancelling";
  return job.state;
}

export function progressOf(job) {
  return Math.min(1, Math.max(0, number(job.progress) ?? 0));
}

// A bar that also says its value to those who do not see it.
export function makeBar(label) {
  return make("progress.bar", { max: 1, value: 0, "aria-label": label });
}

// What matters most about it: the accuracy once there is one.
function headline(job) {
  return number(job.test_top1) === null ? "" : percent(job.test_top1);
}

function tail(job) {
  if (ENDED.has(job.state)) {
    const what = job.state === "succeeded" ? duration(job.seconds) : job.state;
    return `${what}${job.finished_at ? ` · ${ago(job.finished_at)}` : ""}`;
  }
  if (job.state !== "running") return stateText(job);
  const eta = number(job.eta_seconds);
  return eta === null ? "starting" : `${duration(eta)} left`;
}

// What stands in the first line, and what it is a part of. The jobs of a sweep are called after it,
// "noise: sigma 0.1", and by that alone they would all look alike.
export function nameOf({ id, name, sweep }) {
  const colon = sweep ? name.indexOf(": ") : -1;
  if (colon > 0) return [name.slice(colon + 2), name.slice(0, colon)];
  return [called({ id, name }), ""];
}

class Row {
  constructor(id) {
    this.mark = make("span.mark", { "aria-hidden": "true" });
    this.name = make("span.name");
    this.best = make("span.best");
    this.about = make("span.about");
    this.tail = make("span.tail");
    this.bar = makeBar("progress");
    this.state = make("span.hidden-text");
    this.link = make("a.row", { href: `#/jobs/${id}` }, this.mark, this.name, this.state,
      this.best, this.bar, this.about, this.tail);
    this.item = make("li", {}, this.link);
  }

  show(job, selected) {
    const state = stateText(job);
    this.link.dataset.state = job.state;
    this.link.dataset.job = job.id;
    say(this.mark, stateMark(job.state));
    this.mark.title = state;
    say(this.state, `, ${state},`);
    const [name, of] = nameOf(job);
    say(this.name, name);
    this.name.classList.toggle("whole", of !== "");
    this.link.title = of ? job.name : name;
    say(this.best, headline(job));
    const { method, model, seed } = job.spec;
    say(this.about, [`#${job.id}`, ...(of ? [of] : [method.kind, model.kind, `seed ${seed}`])]
      .join(" · "));
    say(this.tail, tail(job));
    this.tail.title = job.finished_at ? clock(job.finished_at) : "";
    this.bar.value = progressOf(job);
    this.bar.hidden = ENDED.has(job.state);
    if (selected) this.link.setAttribute("aria-current", "true");
    else this.link.removeAttribute("aria-current");
  }
}

export class List {
  constructor(store, host, counts, older) {
    Object.assign(this, { store, host, older });
    this.counts = new Counts(store, counts);
    this.rows = new Map();
    this.selected = null;
    host.addEventListener("keydown", (event) => this.onKey(event));
    older.addEventListener("click", () => store.older());
  }

  // Up and down walk through the rows, as Tab does.
  onKey(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const links = [...this.host.querySelectorAll("a.row")];
    const to = links[links.indexOf(document.activeElement) + step];
    if (!to) return;
    event.preventDefault();
    to.focus();
  }

  show() {
    const jobs = this.store.listed(this.selected);
    this.leaveOut(new Set(jobs.map(({ id }) => id)));
    let before = this.host.firstElementChild;
    for (const job of jobs) {
      let row = this.rows.get(job.id);
      if (!row) this.rows.set(job.id, (row = new Row(job.id)));
      row.show(job, job.id === this.selected);
      if (row.item === before) before = before.nextElementSibling;
      else this.host.insertBefore(row.item, before);
    }
    this.older.hidden = !this.store.next;
    this.counts.show();
  }

  // The focus goes to the nearest that stays: below it, or else above.
  leaveOut(listed) {
    const links = [...this.host.querySelectorAll("a.row")];
    const at = links.indexOf(document.activeElement);
    const stays = (link) => listed.has(Number(link.dataset.job));
    for (const [id, { item }] of this.rows) {
      if (listed.has(id)) continue;
      item.remove();
      this.rows.delete(id);
    }
    if (at < 0 || stays(links[at])) return;
    (links.slice(at).find(stays) ?? links.slice(0, at).findLast(stays))?.focus();
  }
}
