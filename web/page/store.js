// The jobs as the page knows them: the newest page of the list, older ones on request, kept up to
// date by the event stream of all jobs. Events say which job changed; what it now is comes from the
// daemon, asked for in groups, so that a hundred busy jobs cost no more than one.
import { events, get } from "./daemon.js";

const PAGE = 50, MOST = 200;    // jobs a request; the daemon's limit
const GATHER_MS = 300;          // events that come close together become one request
const LOOK_MS = 2000;           // progress within an epoch has no event of its own
const FEW = 4;                  // up to so many changed jobs are asked for one by one

export const ENDED = new Set(["succeeded", "failed", "cancelled"]);

export class Store extends EventTarget {
  constructor() {
    super();
    this.jobs = new Map();
    this.loaded = false;
    this.offline = false; // for so long that what is here may be old
    this.next = null; // where older jobs are
    this.dirty = new Set();
    this.gone = new Set(); // deleted; an answer that was under way may still have them
    this.timer = 0;
  }

  start() {
    this.stop = events("/v1/events", {
      event: ({ type, data }) => {
        if (type === "probe") this.dispatchEvent(new CustomEvent("probe", { detail: data }));
        else if (type === "deleted") this.forget(data.job);
        else this.touch(data.job);
      },
      state: (state, seconds) => this.onLink(state, seconds),
    });
    this.looking = setInterval(() => this.look(), LOOK_MS);
  }

  // Newest first.
  list() {
    return [...this.jobs.values()].sort((a, b) => b.id - a.id);
  }

  changed(detail) {
    this.dispatchEvent(new CustomEvent("changed", { detail }));
  }

  onLink(state, seconds) {
    this.dispatchEvent(new CustomEvent("link", { detail: { state, seconds } }));
    // What happened before the stream was open is in the list.
    if (state === "live") this.reload();
  }

  async reload() {
    try {
      const page = await get(`/v1/jobs?limit=${PAGE}`);
      const first = !this.loaded;
      this.loaded = true;
      if (first) this.next = page.next ?? null;
      this.merge(page.jobs);
      // Jobs beyond that page may have changed as well while nobody listened.
      const seen = new Set(page.jobs.map((job) => job.id));
      for (const job of this.jobs.values()) {
        if (!seen.has(job.id) && !ENDED.has(job.state)) this.touch(job.id);
      }
    } catch (error) {
      this.dispatchEvent(new CustomEvent("trouble", { detail: error }));
    }
  }

  async older() {
    if (!this.next) return;
    const page = await get(this.next);
    this.next = page.next ?? null;
    this.merge(page.jobs);
  }

  merge(items) {
    // A list leaves out the facts. Those of a job that was asked for alone may be old by now; where
    // it ran in truth is in `measured`.
    const there = items.filter(({ id }) => !this.gone.has(id));
    for (const job of there) this.jobs.set(job.id, { facts: this.jobs.get(job.id)?.facts, ...job });
    this.changed(there.map((job) => job.id));
  }

  // There is no such job any more.
  forget(id) {
    const known = this.jobs.delete(id);
    this.gone.add(id);
    this.dirty.delete(id);
    if (known) this.dispatchEvent(new CustomEvent("deleted", { detail: id }));
    this.changed([id]);
  }

  // Asks for a job again, soon.
  touch(id) {
    if (!Number.isInteger(id)) return;
    this.dirty.add(id);
    if (!this.timer) this.timer = setTimeout(() => this.flush(), GATHER_MS);
  }

  look() {
    if (document.hidden) return;
    for (const job of this.jobs.values()) if (job.state === "running") this.touch(job.id);
  }

  async flush() {
    const ids = [...this.dirty];
    this.dirty.clear();
    try {
      if (ids.length <= FEW) await Promise.all(ids.map((id) => this.ask(id)));
      else await this.fetchMany(ids);
    } catch {
      ids.forEach((id) => this.dirty.add(id)); // the stream's state tells the user
    } finally {
      this.timer = this.dirty.size ? setTimeout(() => this.flush(), LOOK_MS) : 0;
    }
  }

  // The newest at once, and a few of the others; the rest comes first the next time.
  async fetchMany(ids) {
    const page = await get(`/v1/jobs?limit=${MOST}`);
    this.merge(page.jobs);
    const got = new Set(page.jobs.map((job) => job.id));
    const others = ids.filter((id) => !got.has(id));
    for (const id of others.slice(0, FEW)) await this.ask(id);
    this.dirty = new Set([...others.slice(FEW), ...this.dirty]);
  }

  async fetch(id) {
    const job = await get(`/v1/jobs/${id}`);
    this.merge([job]);
    return job;
  }

  async ask(id) {
    try {
      await this.fetch(id);
    } catch (error) {
      if (error.status !== 404) throw error;
      this.forget(id);
    }
  }
}
