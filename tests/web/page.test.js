// The page's modules that need no browser.
import assert from "node:assert/strict";
import { test } from "node:test";

import { cost, machine } from "../../web/page/facts.js";
import { History, POINTS } from "../../web/page/history.js";
import { nameOf } from "../../web/page/list.js";
import { read } from "../../web/page/stream.js";
import { Measurements } from "../../web/page/telemetry.js";
import { ago, bytes, called, compact, count, counted, duration, number, percent, short }
  from "../../web/page/text.js";

const filled = (n, loss, perturbed = () => null) => {
  const history = new History();
  for (let update = 1; update <= n; update++) {
    history.addLoss({ update, loss: loss(update), perturbed_loss: perturbed(update) });
  }
  return history;
};

test("events arrive whole wherever the bytes are cut", async () => {
  const text = 'retry: 2000\n\nid: 7\nevent: update\ndata: {"a":"ä–∞"}\n\n: heartbeat\n\n'
    + "id: 8\nevent: state\ndata: one\ndata: two\n\n";
  const all = new TextEncoder().encode(text);
  for (let cut = 0; cut <= all.length; cut++) {
    const body = new ReadableStream({
      start(controller) {
        controller.enqueue(all.slice(0, cut));
        controller.enqueue(all.slice(cut));
        controller.close();
      },
    });
    const got = [];
    await read(body, (event) => got.push(event));
    assert.deepEqual(got, [
      { type: "update", id: "7", data: '{"a":"ä–∞"}' },
      { type: "state", id: "8", data: "one\ntwo" },
    ]);
  }
});

test("an update counts once, and in order", () => {
  const history = filled(5, (u) => u);
  history.addLoss({ update: 5, loss: 99, perturbed_loss: null });
  history.addLoss({ update: 3, loss: 99, perturbed_loss: null });
  assert.deepEqual(history.updates, [1, 2, 3, 4, 5]);
  assert.deepEqual(history.clean, [1, 2, 3, 4, 5]);
});

test("a run whose losses blow up is told from one that is only noisy", () => {
  assert.equal(filled(0, () => 1).rise, 0);
  assert.equal(filled(9, (u) => (u === 5 ? 6 : 2), () => 4).rise, 3);
  const history = filled(9, (u) => (u === 9 ? "NaN" : u === 8 ? "Infinity" : 10 ** u));
  assert.equal(history.rise, 1e6);
});

test("thinning keeps the ends, the order and each spike", () => {
  const n = 20 * POINTS, spikes = new Set([1234, 5678, n - 77]);
  const history = filled(n, (u) => (spikes.has(u) ? 50 : 1 + (u % 7) / 100), (u) => 2 + (u % 5));
  assert.ok(history.updates.length <= 3 * POINTS);
  assert.equal(history.updates[0], 1);
  assert.equal(history.lastUpdate, n);
  for (const spike of spikes) assert.equal(history.clean[history.updates.indexOf(spike)], 50);
  history.updates.forEach((u, i) => {
    assert.ok(i === 0 || u > history.updates[i - 1]);
    assert.equal(history.perturbed[i], 2 + (u % 5));
  });
});

test("a loss that is no number is a gap, and remembered", () => {
  const history = filled(4, (u) => (u === 3 ? "NaN" : u === 4 ? "Infinity" : 1.5));
  assert.equal(history.firstNaN, 3);
  assert.deepEqual(history.lossColumns(false)[1], [1.5, 1.5, null, null]);
});

test("NaN survives thinning as a fact", () => {
  const history = filled(4 * POINTS, (u) => (u > 3 * POINTS ? "NaN" : 1));
  assert.equal(history.firstNaN, 3 * POINTS + 1);
});

test("losses and epochs share one axis", () => {
  const history = filled(4, (u) => u / 2);
  const epoch = { train_loss: 0, train_top1: 0.5, test_top5: null, seconds: 1 };
  history.addEpoch({ ...epoch, epoch: 1, update: 2, test_loss: 3, test_top1: 0.25 });
  history.addEpoch({ ...epoch, epoch: 2, update: 6, test_loss: null, test_top1: null });
  assert.deepEqual(history.lossColumns(false), [
    [1, 2, 3, 4, 6],
    [0.5, 1, 1.5, 2, undefined],
    [undefined, undefined, undefined, undefined, undefined],
    [undefined, 0, undefined, undefined, 0],
    [undefined, 3, undefined, undefined, undefined],
  ]);
  assert.deepEqual(history.lossColumns(true)[3], [undefined, null, undefined, undefined, null]);
  assert.deepEqual(history.accuracyColumns(),
    [[2, 6], [0.25, undefined], [0.5, 0.5], [undefined, undefined]]);
});

test("epochs are thinned too, and keep the best and the last", () => {
  const history = new History(), n = 10 * POINTS;
  for (let epoch = 1; epoch <= n; epoch++) {
    history.addEpoch({ epoch, update: 5 * epoch, train_loss: 1, train_top1: 1, seconds: epoch,
      test_loss: 1, test_top1: epoch === 4321 ? 0.9 : 0.5, test_top5: 1 });
  }
  assert.ok(history.epochs.length <= 3 * POINTS + 1);
  assert.equal(history.epochs.at(-1).epoch, n);
  assert.ok(history.epochs.some((e) => e.epoch === 4321));
});

test("a loss that is the perturbed one is drawn once", () => {
  const history = filled(2, (u) => u, (u) => u);
  assert.deepEqual(history.lossColumns(false).slice(1, 3), [[undefined, undefined], [1, 2]]);
});

test("numbers as a person reads them", () => {
  assert.equal(number(null), null);
  assert.equal(number("-Infinity"), -Infinity);
  assert.ok(Number.isNaN(number("NaN")));
  const numbers = [0, 0.012345, 1.5, 123456.7, 1.25e-9, -2, "NaN", "Infinity", null];
  assert.deepEqual(numbers.map((x) => short(x)),
    ["0", "0.01235", "1.500", "1.235e+5", "1.25e−9", "−2.000", "NaN", "∞", "–"]);
  assert.deepEqual([0.8764, 1, null, "NaN"].map((x) => percent(x)),
    ["87.6 %", "100.0 %", "–", "–"]);
  assert.deepEqual([0, 0.25, 9999, 10000, 250000, 1.5e6, 6e12, 0.0005].map(compact),
    ["0", "0.25", "9999", "10k", "250k", "1.5M", "6e12", "5e-4"]);
  assert.equal(count(1234567), "1\u202f234\u202f567");
  assert.deepEqual([0, 1023, 1024, 79872, 3 * 2 ** 30].map(bytes),
    ["0 bytes", "1023 bytes", "1.00 KiB", "78.0 KiB", "3.00 GiB"]);
  assert.deepEqual([0.4, 9.96, 59.6, 3599.7, 7260, 90000, -1, null].map(duration),
    ["0.4 s", "10 s", "1 min 0 s", "1 h 0 min", "2 h 1 min", "1 d 1 h", "–", "–"]);
  const now = Date.parse("2024-01-02T00:00:00Z");
  const times = ["2024-01-02T00:00:05Z", "2024-01-01T23:59:00Z", "2024-01-01T20:00:00Z",
    "2023-12-30T00:00:00Z"];
  assert.deepEqual(times.map((t) => ago(t, now)), ["just now", "1 min ago", "4 h ago", "3 d ago"]);
});

test("what there is to train on", () => {
  const cpu = { name: "cpu", description: "Xeon", cores: 16, memory_bytes: 2 ** 37 };
  const gpu = { name: "cuda:0", description: "H200", cores: 16, memory_bytes: 2 ** 37, uuid: "GPU-1",
    state: "ready" };
  assert.equal(machine([]), "");
  assert.equal(machine([cpu]), "Xeon · 16 cores");
  assert.equal(machine([gpu, cpu]), "H200 · 128 GiB");
  assert.equal(machine([gpu, { ...gpu, name: "cuda:1", state: "set aside" }, cpu]),
    "H200 · 128 GiB · 2 GPUs · cuda:1 is set aside");
});

test("what a job costs, as far as it is known", () => {
  const gpu = { memory_bytes: 3 * 2 ** 30, device_memory_bytes: 2 ** 31, seconds_per_update: null,
    evaluation_seconds: null, seconds: null, basis: null };
  assert.equal(cost(gpu), `${bytes(3 * 2 ** 30)}, of it ${bytes(2 ** 31)} on the GPU`);
  assert.equal(cost({ ...gpu, device_memory_bytes: null, seconds_per_update: 0.25 }),
    `${bytes(3 * 2 ** 30)} · 250 ms an update`);
  assert.equal(cost({ memory_bytes: null, device_memory_bytes: null, seconds_per_update: null }), "");
});

test("measurements: what a method does not have, what has no logarithm, each spike", () => {
  const rows = new Measurements(), n = 20 * POINTS, spike = 4321;
  const row = (update, changes = {}) => ({ update, perturbation_norm: 1, gradient_norm: 2,
    perturbed_gradient_norm: 3, cosine: -0.5, ...changes });
  rows.add(row(2, { perturbation_norm: 0, cosine: null }));
  rows.add(row(4, { gradient_norm: "NaN", perturbed_gradient_norm: null }));
  rows.add(row(4));
  assert.deepEqual(rows.norms(), [[2, 4], [null, 1], [2, null], [3, undefined]]);
  assert.deepEqual(rows.cosine(), [[2, 4], [undefined, -0.5]]);
  rows.clear();
  for (let u = 1; u <= n; u++) rows.add(row(u, { cosine: u === spike ? 0.9 : (u % 9) / 20 }));
  assert.ok(rows.updates.length <= 3 * POINTS);
  assert.equal(rows.updates.at(-1), n);
  assert.equal(rows.cosine()[1][rows.updates.indexOf(spike)], 0.9);
});

test("a sweep's job is called by what is its own", () => {
  assert.deepEqual(nameOf({ id: 1, name: "a: b", sweep: null }), ["a: b", ""]);
  assert.deepEqual(nameOf({ id: 1, name: "", sweep: null }), ["job 1", ""]);
  assert.deepEqual(nameOf({ id: 1, name: "noise: sigma 0.1, seed 2", sweep: { id: 1, point: 1 } }),
    ["sigma 0.1, seed 2", "noise"]);
  assert.deepEqual(nameOf({ id: 1, name: "sigma 0.1", sweep: { id: 1, point: 1 } }),
    ["sigma 0.1", ""]);
});

test("one of something is not several", () => {
  assert.deepEqual([0, 1, 2, 12345].map((n) => counted(n, "update")),
    ["0 updates", "1 update", "2 updates", "12\u202f345 updates"]);
});

test("what has no name is called by its number", () => {
  assert.equal(called({ id: 7, name: "noise" }), "noise");
  assert.equal(called({ id: 7, name: "" }), "job 7");
  assert.equal(called({ id: 3, name: "" }, "sweep"), "sweep 3");
});
