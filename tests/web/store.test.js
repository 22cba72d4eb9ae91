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
function daemon(n) {
  const versions = new Array(n + 1).fill(0);
  const job = (id) => ({ id, state: "running", version: versions[id] });
  const requests = [];
  globalThis.fetch = async (path) => {
    requests.push(path);
    const limit = /^\/v1\/jobs\?limit=(\d+)$/.exec(path);
    const one = /^\/v1\/jobs\/(\d+)$/.exec(path);
    assert.ok(limit || one, path);
    const answer = limit
      ? { jobs: Array.from({ length: Math.min(n, limit[1]) }, (_, i) => job(n - i)) }
      : job(Number(one[1]));
    return new Response(JSON.stringify(answer));
  };
  return { versions, requests };
}

// Timers ring when a test says so; their callback's promise is done when what they began is.
let due = null;
globalThis.setTimeout = (callback) => {
  due = callback;
  return 1;
};

async function ring() {
  const callback = due;
  due = null;
  await callback();
}

test("changed jobs beyond the newest page are all asked for, a few at a time", async () => {
  const { versions, requests } = daemon(300);
  const store = new Store();
  const changed = [...Array.from({ length: 20 }, (_, i) => i + 1), 299, 300];
  for (const id of changed) {
    versions[id] = 1;
    store.touch(id);
  }
  for (let rings = 0; due && rings < 20; rings++) {
    const before = requests.length;
    await ring();
    assert.ok(requests.length - before <= 5, "one list and four jobs at a time");
  }
  for (const id of changed) assert.equal(store.jobs.get(id)?.version, 1, `job ${id}`);
  assert.equal(due, null, "nothing is left to ask for");
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
