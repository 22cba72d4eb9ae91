// The jobs as the page knows them: the newest page of the list and what runs, older ones on request,
// kept up to date by the event stream of all jobs. Events say which job changed; what it now is comes
// from the daemon, asked for in groups, so that a hundred busy jobs cost no more than one.
import { events, get } from "./daemon.js";

const PAGE = 50, MOST = 200;    // jobs a request; the daemon's limit
const GATHER_MS = 300;          // events that come close together become one request
const LOOK_MS = 2000;           // progress within an epoch has no event of its own
const FEW = 4;                  // so many jobs are asked for one by one; a page costs as much

export const ENDED = new Set(["succeeded", "failed", "cancelled"]);

// The newest jobs, of all states or of one.
const newest = (state) => `/v1/jobs?limit=${PAGE}${state ? `&state=${state}` : ""}`;

// Whether some of these jobs lie so close below `end` that the pages down to them cost less.
function dense(ids, end) {
  return [...ids].sort((a, b) => b - a).some((id, i) => i >= FEW * Math.ceil((end - id) / MOST));
}

export class Store extends EventTarget {
  constructor() {
    super();
    this.jobs = new Map();
    this.loaded = this.begun = false;
    this.offline = false; // for so long that what is here may be old
    this.filter = null;     // the state whose jobs alone are listed
    this.views = new Map(); // by filter: `next`, where older jobs are; `floor`, the oldest so far
    this.counts = {};       // of all jobs, by state
    this.stale = false;     // something has changed them
    this.asked = this.counted = 0; // pages that were asked for; the one that they are of
    this.pending = 0;       // pages and jobs that are under way
    this.dirty = new Map(); // jobs that have changed, and the state that each was said to be in
    this.gone = new Set(); // deleted; an answer that was under way may still have them
    this.dropped = [];     // of which nobody was told yet
    this.timer = this.telling = 0;
  }

  start() {
    this.stop = events("/v1/events", {
      event: (event) => this.onEvent(event),
      state: (state, seconds) => this.onLink(state, seconds),
    });
    this.looking = setInterval(() => this.look(), LOOK_MS);
  }

  onEvent({ type, data }) {
    if (type === "state" || type === "deleted") this.recount();
    if (type === "probe") this.dispatchEvent(new CustomEvent("probe", { detail: data }));
    else if (type === "deleted") this.forget(data.job);
    else if (type === "start") this.onStart();
    else this.touch(data.job, data.state);
  }

  // The daemon does not know the event that was the last one here: it has another state folder now.
  onStart() {
    if (this.begun) {
      this.empty();
      this.reload();
    }
    this.begun = true;
  }

  // What is here are jobs of a state folder that was left.
  empty() {
    for (const all of [this.jobs, this.gone, this.views, this.dirty]) all.clear();
    this.dropped = [];
    this.loaded = false;
    this.dispatchEvent(new Event("emptied"));
  }

  // Whether some of these jobs are others than those known by their ids, or than those deleted: a
  // folder gives each id once. gone: the deleted ones when they were asked for
  others(jobs, gone) {
    return jobs.some(({ id, created_at: at }) => {
      const known = this.jobs.get(id);
      return known ? known.created_at !== at : gone.has(id) && this.gone.has(id);
    });
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
    const { filter } = this, states = [...new Set([null, "running", filter])];
    const top = Math.max(0, ...this.jobs.keys()); // before anything new is heard of
    const gone = new Set(this.gone);
    // At once: a filter that is chosen while these are under way has its list asked for anew.
    for (const state of this.views.keys()) if (!states.includes(state)) this.views.delete(state);
    await this.trying(async () => {
      const pages = await Promise.all(states.map((state) => this.page(newest(state))));
      if (pages.some(({ jobs }) => this.others(jobs, gone))) this.empty();
      this.loaded = true;
      // What runs is known before somebody is shown the newest for want of it.
      states.reverse().forEach((state, i) => this.renew(state, pages.at(-1 - i), top));
      // Jobs beyond those pages may have changed as well while nobody listened.
      const seen = new Set(pages.flatMap(({ jobs }) => jobs.map((job) => job.id)));
      for (const job of this.jobs.values()) {
        if (!seen.has(job.id) && !ENDED.has(job.state)) this.touch(job.id);
      }
    });
  }

  async trying(what) {
    try {
      await what();
    } catch (error) {
      this.dispatchEvent(new CustomEvent("trouble", { detail: error }));
    }
  }

  // A page of the list. It has the counts, too; an answer that was overtaken does not change them.
  async page(path) {
    const asked = ++this.asked;
    this.stale = false;
    this.pending++;
    try {
      const page = await get(path);
      if (asked > this.counted) [this.counts, this.counted] = [page.counts, asked];
      return page;
    } catch (error) {
      this.stale = true;
      throw error;
    } finally {
      this.pending--;
    }
  }

  // The newest page again. Older ones that were asked for stay, unless there is a gap between this
  // one and `top`, the newest that was known.
  renew(filter, page, top) {
    if (this.views.has(filter) && !(page.next && page.jobs.at(-1).id > top)) this.merge(page.jobs);
    else this.extend(filter, page);
  }

  // A filter's list goes down to the end of this page.
  extend(filter, { jobs, next }) {
    this.views.set(filter, { next, floor: next ? jobs.at(-1).id : 0 });
    this.merge(jobs);
  }

  // Only jobs of this state are listed; null: all.
  async choose(filter) {
    this.filter = filter;
    this.changed([]);
    if (this.views.has(filter)) return;
    await this.trying(async () => this.extend(filter, await this.page(newest(filter))));
  }

  get next() {
    return this.views.get(this.filter)?.next ?? null;
  }

  async older() {
    const { filter, next } = this;
    if (next) await this.trying(async () => this.extend(filter, await this.page(next)));
  }

  // What the list shows, newest first. An older job is known when it has changed or was chosen, and
  // has its place when all between are known; but what runs is always shown, and what is chosen.
  listed(chosen) {
    const { filter } = this, floor = this.views.get(filter)?.floor ?? 0;
    return this.list().filter(({ id, state }) => (filter ? state === filter && id >= floor
      : id >= floor || id === chosen || state === "running"));
  }

  merge(items) {
    // A list leaves out the facts. Those of a job that was asked for alone may be old by now; where
    // it ran in truth is in `measured`.
    const there = items.filter(({ id }) => !this.gone.has(id));
    for (const job of there) this.jobs.set(job.id, { facts: this.jobs.get(job.id)?.facts, ...job });
    this.changed(there.map((job) => job.id));
  }

  // A job was deleted.
  forget(id) {
    this.gone.add(id);
    this.drop(id);
  }

  // There is no such job any more. They go by the hundred, with their sweep; whoever shows them is
  // told of all that go together.
  drop(id) {
    this.jobs.delete(id);
    this.dirty.delete(id);
    this.dropped.push(id);
    this.telling ||= setTimeout(() => this.tell(), GATHER_MS);
  }

  tell() {
    const ids = this.dropped;
    [this.dropped, this.telling] = [[], 0];
    this.dispatchEvent(new CustomEvent("deleted", { detail: ids }));
    this.changed(ids);
  }

  // Asks for a job again, soon. state: that it is in now, if somebody said so
  touch(id, state) {
    if (!Number.isInteger(id)) return;
    this.dirty.set(id, state);
    this.soon();
  }

  // Whether a job that has changed is listed, or is to be. While a page or a job is under way nobody
  // knows how far down that list will go, nor whether it has the change.
  wanted(id, state) {
    if (this.jobs.has(id) || !state || state === "running" || this.pending) return true;
    return [null, ...this.views.keys()].some((filter) => (filter === null || filter === state)
      && id >= (this.views.get(filter)?.floor ?? 0));
  }

  // Asks for the counts again, soon.
  recount() {
    this.stale = true;
    this.soon();
  }

  soon() {
    this.timer ||= setTimeout(() => this.flush(), GATHER_MS);
  }

  look() {
    if (document.hidden) return;
    for (const job of this.jobs.values()) if (job.state === "running") this.touch(job.id);
  }

  async flush() {
    const { dirty } = this, ids = [], others = [];
    for (const [id, state] of dirty) (this.wanted(id, state) ? ids : others).push(id);
    this.dirty = new Map();
    if (others.length) this.changed(others); // which may be a sweep's
    try {
      await this.fetchMany(ids);
      if (this.stale) this.merge((await this.page("/v1/jobs?limit=1")).jobs);
    } catch {
      this.dirty = new Map([...dirty, ...this.dirty]); // the stream's state tells the user
    } finally {
      const more = this.dirty.size || this.stale;
      this.timer = more ? setTimeout(() => this.flush(), LOOK_MS) : 0;
    }
  }

  // By the page where they lie close together, and a few of the others; the rest comes first the
  // next time.
  async fetchMany(ids) {
    let left = ids, path = `/v1/jobs?limit=${MOST}`;
    let end = Math.max(...ids, ...this.jobs.keys()) + 1;
    while (path && dense(left, end)) {
      const page = await this.page(path), got = new Set(page.jobs.map(({ id }) => id));
      this.merge(page.jobs);
      [path, end] = [page.next, page.next ? page.jobs.at(-1).id : 0];
      // One that would be in this page or before, and is not, was deleted.
      left.filter((id) => id >= end && !got.has(id)).forEach((id) => this.drop(id));
      left = left.filter((id) => id < end);
    }
    await Promise.all(left.slice(0, FEW).map((id) => this.ask(id)));
    this.dirty = new Map([...left.slice(FEW).map((id) => [id]), ...this.dirty]);
  }

  async fetch(id) {
    this.pending++;
    try {
      const job = await get(`/v1/jobs/${id}`);
      this.merge([job]);
      return job;
    } finally {
      this.pending--;
    }
  }

  async ask(id) {
    try {
      await this.fetch(id);
    } catch (error) {
      if (error.status !== 404) throw error;
      this.drop(id);
    }
  }
}
