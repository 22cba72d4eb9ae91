// The page's list of jobs, fed by a daemon that is a table in here.
import assert from "node:assert/strict";
import { test } from "node:test";

import { Store } from "../../web/page/store.js";

globalThis.CustomEvent ??= class extends Event {
  constructor(type, { detail } = {}) {
    super(type);
    this.detail = detail;
  }
};

// Answers as the daemon does; jobs have the ids 1 to `n`, and a `version` that counts their changes.
function daemon(n, stateOf = () => "running", created = "yesterday") {
  const versions = new Array(n + 1).fill(0);
  const job = (id) => ({ id, state: stateOf(id), version: versions[id], created_at: created });
  const requests = [];

  // A cursor is the id that the page before ended with.
  function page({ limit, state, cursor }) {
    const all = Array.from({ length: n }, (_, i) => job(n - i)), counts = {};
    for (const each of all) counts[each.state] = (counts[each.state] ?? 0) + 1;
    const left = all.filter((each) => (!state || each.state === state)
      && (!cursor || each.id < Number(cursor)));
    const jobs = left.slice(0, Number(limit)), of = state ? `&state=${state}` : "";
    const next = left.length > jobs.length
      ? `/v1/jobs?limit=${limit}&cursor=${jobs.at(-1).id}${of}` : null;
    return { jobs, counts, next };
  }

  globalThis.fetch = async (path) => {
    requests.push(path);
    const [place, query] = path.split("?");
    const one = /^\/v1\/jobs\/(\d+)$/.exec(place);
    assert.ok(query ? place === "/v1/jobs" : one, path);
    const answer = query ? page(Object.fromEntries(new URLSearchParams(query))) : job(Number(one[1]));
    return new Response(JSON.stringify(answer));
  };
  return { versions, requests };
}

// Timers ring when a test says so; their callback's promise is done when what they began is.
let due = [];
globalThis.setTimeout = (callback) => due.push(callback);

async function ring() {
  const callbacks = due;
  due = [];
  for (const callback of callbacks) await callback();
}

test("changed jobs beyond the newest page are all asked for, a few at a time", async () => {
  const { versions, requests } = daemon(300);
  const store = new Store();
  const changed = [...Array.from({ length: 20 }, (_, i) => i + 1), 299, 300];
  for (const id of changed) {
    versions[id] = 1;
    store.touch(id);
  }
  for (let rings = 0; due.length && rings < 20; rings++) {
    const before = requests.length;
    await ring();
    assert.ok(requests.length - before <= 5, "one list and four jobs at a time");
  }
  for (const id of changed) assert.equal(store.jobs.get(id)?.version, 1, `job ${id}`);
  assert.deepEqual(due, [], "nothing is left to ask for");
});

test("jobs that change all the time do not keep others waiting", async () => {
  const { versions } = daemon(300);
  const store = new Store();
  for (let id = 1; id <= 10; id++) versions[id] = 1;
  for (let id = 1; id <= 10; id++) store.touch(id);
  for (let rings = 0; rings < 10; rings++) {
    for (let id = 1; id <= 5; id++) store.touch(id);
    await ring();
  }
  for (let id = 1; id <= 10; id++) assert.equal(store.jobs.get(id)?.version, 1, `job ${id}`);
});

const ids = (jobs) => jobs.map(({ id }) => id);
const down = (from, to) => Array.from({ length: from - to + 1 }, (_, i) => from - i);

test("what is listed of a state comes in pages of its own, and leaves no gaps among all", async () => {
  // 1 to 100 have succeeded, 101 runs, the rest is queued.
  daemon(300, (id) => (id <= 100 ? "succeeded" : id === 101 ? "running" : "queued"));
  const store = new Store();
  await store.reload();
  assert.deepEqual(store.counts, { succeeded: 100, running: 1, queued: 199 });
  assert.deepEqual(ids(store.listed(null)), [...down(300, 251), 101]);
  await store.choose("succeeded");
  assert.deepEqual(ids(store.listed(null)), down(100, 51));
  await store.older();
  assert.deepEqual(ids(store.listed(null)), down(100, 1));
  assert.equal(store.next, null);
  await store.choose(null);
  assert.deepEqual(ids(store.listed(60)), [...down(300, 251), 101, 60]);
  await store.older();
  assert.deepEqual(ids(store.listed(null)), [...down(300, 201), 101]);
});

test("a connection that comes back late leaves no gap in the list", async () => {
  daemon(60);
  const store = new Store();
  await store.reload();
  await store.older();
  assert.deepEqual(ids(store.listed(null)), down(60, 1));
  daemon(70, () => "queued");
  await store.reload();
  assert.deepEqual(ids(store.listed(null)), down(70, 1));
  daemon(300, () => "queued");
  await store.reload();
  assert.deepEqual(ids(store.listed(null)), [...down(300, 251), ...ids(store.list()
    .filter(({ id, state }) => id < 251 && state === "running"))]);
  await store.older();
  assert.deepEqual(ids(store.listed(null)).slice(0, 100), down(300, 201));
});

test("counts are asked for when a state has changed, and an answer that is late changes nothing", async () => {
  const states = ["", "queued", "queued"];
  const { requests } = daemon(2, (id) => states[id]);
  const store = new Store();
  due = [];
  await store.reload();
  assert.deepEqual(store.counts, { queued: 2 });
  const { fetch } = globalThis;
  let answer;
  const late = new Promise((resolve) => {
    answer = resolve;
  });
  globalThis.fetch = async () => late;
  const overtaken = store.page("/v1/jobs?limit=1");
  globalThis.fetch = fetch;
  states[1] = "running";
  store.recount();
  while (due.length) await ring();
  assert.deepEqual(store.counts, { queued: 1, running: 1 });
  answer(new Response(JSON.stringify({ jobs: [], counts: { queued: 2 }, next: null })));
  await overtaken;
  assert.deepEqual(store.counts, { queued: 1, running: 1 });
  const before = requests.length;
  store.touch(1);
  while (due.length) await ring();
  assert.deepEqual(requests.slice(before), ["/v1/jobs/1"]);
});

test("jobs that are deleted together are told of together", async () => {
  daemon(900, () => "cancelled");
  const store = new Store();
  due = [];
  await store.reload();
  while (store.next) await store.older();
  const told = { changed: [], deleted: [] };
  for (const [type, list] of Object.entries(told)) {
    store.addEventListener(type, ({ detail }) => list.push(detail));
  }
  for (const id of down(900, 2)) store.onEvent({ type: "deleted", data: { job: id } });
  assert.deepEqual(ids(store.list()), [1]);
  assert.deepEqual(told, { changed: [], deleted: [] });
  daemon(1, () => "cancelled");
  while (due.length) await ring();
  assert.deepEqual(told.deleted, [down(900, 2)]);
  assert.deepEqual(told.changed.filter((each) => each.length > 1), [down(900, 2)]);
  assert.ok(told.changed.length <= 2, "and the counts");
});

test("hundreds of jobs that change at once cost a page for each two hundred", async () => {
  const states = new Array(1001).fill("queued"), { requests } = daemon(1000, (id) => states[id]);
  const store = new Store();
  await store.reload();
  await store.choose("queued");
  while (store.next) await store.older();
  assert.equal(store.listed(null).length, 1000);
  due = [];
  requests.length = 0;
  for (let id = 1; id <= 1000; id++) {
    states[id] = "cancelled";
    store.onEvent({ type: "state", data: { job: id, state: "cancelled" } });
  }
  await ring();
  assert.deepEqual(ids(store.listed(null)), []);
  assert.deepEqual(store.counts, { cancelled: 1000 });
  assert.equal(requests.length, 5);
  assert.deepEqual(due, [], "nothing is left to ask for");
});

test("jobs that no list shows are not asked for when they change", async () => {
  const states = new Array(1001).fill("queued"), { requests } = daemon(1000, (id) => states[id]);
  const change = (id, state) => {
    states[id] = state;
    store.onEvent({ type: "state", data: { job: id, state } });
  };
  const store = new Store(), told = [];
  await store.reload();
  due = [];
  requests.length = 0;
  store.addEventListener("changed", ({ detail }) => told.push(...detail));
  for (let id = 1; id <= 900; id++) change(id, "cancelled");
  await ring();
  assert.deepEqual(requests, ["/v1/jobs?limit=1"], "for the counts alone");
  assert.deepEqual(told.filter((id) => id <= 900), down(900, 1).reverse(), "sweeps hear of them");
  assert.deepEqual(due, []);
  // What runs is always shown, and a filter has jobs older than the newest of all.
  await store.choose("failed");
  change(1, "running");
  change(2, "failed");
  change(3, "succeeded");
  while (due.length) await ring();
  const known = [1, 2, 3].map((id) => store.jobs.get(id)?.state);
  assert.deepEqual(known, ["running", "failed", undefined]);
});

test("a change while a list is under way is asked for, however old the job", async () => {
  const { requests } = daemon(100, () => "queued");
  const store = new Store();
  await store.reload();
  due = [];
  const older = store.older();
  store.onEvent({ type: "state", data: { job: 1, state: "queued" } });
  await Promise.all([ring(), older]);
  assert.ok(requests.includes("/v1/jobs/1"));
});

test("a change of an old job while it is under way is asked for", async () => {
  const { requests } = daemon(100, () => "paused");
  const store = new Store();
  await store.reload();
  due = [];
  const chosen = store.fetch(1);
  store.onEvent({ type: "state", data: { job: 1, state: "queued" } });
  await Promise.all([ring(), chosen]);
  assert.equal(requests.filter((path) => path === "/v1/jobs/1").length, 2);
});

test("one that changed and then is in no page was deleted", async () => {
  const store = new Store();
  daemon(20);
  await store.reload();
  due = [];
  for (let id = 11; id <= 20; id++) store.touch(id);
  daemon(15);
  while (due.length) await ring();
  assert.deepEqual(ids(store.list()), down(15, 1));
});

test("a filter that is chosen while a connection comes back keeps its list", async () => {
  daemon(200, (id) => (id % 2 ? "failed" : "queued"));
  const store = new Store();
  await store.reload();
  // The second time it was chosen before, too, and has a list that is old by then.
  for (const n of [400, 600]) {
    daemon(n, (id) => (id % 2 ? "failed" : "queued"));
    const reloaded = store.reload();
    await store.choose("failed");
    await reloaded;
    assert.deepEqual(ids(store.listed(null)), down(n, n - 99).filter((id) => id % 2));
    assert.ok(store.next);
    await store.choose(null);
  }
});

test("another state folder's jobs have nothing to do with those before", async () => {
  const deleted = async () => {
    const store = new Store();
    store.onEvent({ type: "start", data: { sequence: 0 } });
    daemon(300, () => "succeeded");
    await store.reload();
    store.onEvent({ type: "deleted", data: { job: 3 } });
    store.onEvent({ type: "deleted", data: { job: 299 } });
    store.emptied = 0;
    store.addEventListener("emptied", () => store.emptied++);
    return store;
  };
  // It has come less far, which the daemon sees by the last event's id.
  const less = await deleted();
  daemon(4, () => "succeeded", "today");
  due = [];
  const reloaded = less.reload();
  less.onEvent({ type: "start", data: { sequence: 9 } });
  await reloaded;
  while (due.length || less.pending) await ring();
  assert.deepEqual(ids(less.list()), [4, 3, 2, 1]);
  assert.equal(less.emptied, 1);
  assert.equal(less.loaded, true);
  // It has come further, which nobody but the page sees.
  for (const [date, n] of [["today", 300], ["yesterday", 320]]) {
    const more = await deleted();
    daemon(n, () => "succeeded", date);
    await more.reload();
    assert.equal(more.emptied, 1, `${n} jobs of ${date}`);
    assert.deepEqual(ids(more.list()), down(n, n - 49));
  }
});

test("a connection that comes back empties nothing", async () => {
  daemon(300, () => "succeeded");
  const store = new Store();
  await store.reload();
  store.addEventListener("emptied", () => assert.fail("emptied"));
  const late = store.reload();
  store.onEvent({ type: "start", data: { sequence: 0 } });
  // Deleted after this was asked for.
  store.onEvent({ type: "deleted", data: { job: 299 } });
  await late;
  assert.equal(store.jobs.has(299), false);
  assert.equal(store.jobs.size, 49);
});
