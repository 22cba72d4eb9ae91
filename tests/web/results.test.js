// How results are drawn, so far as it needs no browser: scales, contour lines, colours, columns.
import assert from "node:assert/strict";
import { test } from "node:test";

import { contour } from "../../web/page/contours.js";
import { membersOf, nest } from "../../web/page/form.js";
import { Grid } from "../../web/page/grid.js";
import { series } from "../../web/page/radius.js";
import { ramp } from "../../web/page/ramp.js";
import { extent, linearSplits, logSplits, Scale } from "../../web/page/scale.js";
import { columns, peakOf } from "../../web/page/spectrum.js";
import { follow } from "../../web/page/stream.js";
import { columnsOf, spread, valueText } from "../../web/page/sweep.js";
import { sorted } from "../../web/page/table.js";
import { percent, short } from "../../web/page/text.js";

const near = (a, b, far = 1e-12) => assert.ok(Math.abs(a - b) <= far, `${a} is not ${b}`);

// f on an n × n grid over −1…1.
const sample = (n, f) => Array.from({ length: n * n }, (_, k) =>
  f((2 * (k % n)) / (n - 1) - 1, (2 * Math.floor(k / n)) / (n - 1) - 1));

const toPlane = (n) => (at) => (2 * at) / (n - 1) - 1;

test("a log scale has few lines, at round numbers", () => {
  assert.deepEqual(logSplits(0.3, 4, 7), [0.5, 1, 2]);
  assert.deepEqual(logSplits(0.1, 30, 7), [0.1, 1, 10]);
  assert.deepEqual(logSplits(0.7, 8, 5.5), [1, 2, 5]);
  assert.deepEqual(logSplits(1, 1e33, 6), [1, 1e6, 1e12, 1e18, 1e24, 1e30]);
  for (let high = 2; high < 1e40; high *= 3) {
    const splits = logSplits(1, high, 6);
    assert.ok(splits.length >= 1 && splits.length <= 7, `${splits} up to ${high}`);
  }
});

test("a linear scale has round numbers, inside and not too many", () => {
  assert.deepEqual(linearSplits(-1, 1, 5), [-1, -0.5, 0, 0.5, 1]);
  assert.deepEqual(linearSplits(0.13, 0.29, 4), [0.15, 0.2, 0.25]);
  assert.deepEqual(linearSplits(0, 460, 5), [0, 100, 200, 300, 400]);
  assert.deepEqual(linearSplits(3, 3, 5), []);
  for (let span = 1e-9; span < 1e9; span *= 1.7) {
    const splits = linearSplits(-span / 3, span, 10);
    assert.ok(splits.length >= 4 && splits.length <= 10, `${splits} for ${span}`);
    splits.forEach((split) => assert.ok(split >= -span / 3 && split <= span));
  }
});

test("scales map there and back; what has no place is NaN", () => {
  const log = new Scale("log", 0.1, 1000), linear = new Scale("linear", -2, 6);
  near(log.share(10), 0.5);
  near(linear.share(0), 0.25);
  for (const share of [0, 0.3, 1]) {
    near(log.share(log.value(share)), share);
    near(linear.share(linear.value(share)), share);
  }
  assert.ok([0, -1, NaN, Infinity, null].every((value) => Number.isNaN(log.share(value))));
  assert.deepEqual(extent([3, NaN, undefined, null, -2, Infinity, 0.5]), [-2, 3]);
  assert.deepEqual(extent([3, 0, -2, 0.5], true), [0.5, 3]);
  assert.equal(extent([NaN, undefined]), null);
  // Less than a decade has hardly a 1, 2 or 5.
  assert.deepEqual(new Scale("log", 0.6, 0.9).splits(4), [0.6, 0.7, 0.8, 0.9]);
});

test("contour lines of a plane are straight, exactly where it has the value", () => {
  const n = 7, segments = contour(sample(n, (x, y) => x + 2 * y), n, n, 0.3), plane = toPlane(n);
  assert.ok(segments.length > n - 2);
  for (const [x1, y1, x2, y2] of segments) {
    near(plane(x1) + 2 * plane(y1), 0.3);
    near(plane(x2) + 2 * plane(y2), 0.3);
  }
});

test("contour lines of a bowl are closed circles of the right radius", () => {
  const n = 61, plane = toPlane(n), cell = 2 / (n - 1);
  const values = sample(n, (x, y) => x * x + y * y);
  for (const level of [0.01, 0.1, 0.5, 0.9]) {
    const segments = contour(values, n, n, level), ends = new Map();
    let length = 0;
    for (const [x1, y1, x2, y2] of segments) {
      for (const [x, y] of [[x1, y1], [x2, y2]]) {
        const key = `${x.toFixed(9)} ${y.toFixed(9)}`;
        ends.set(key, (ends.get(key) ?? 0) + 1);
        // Linear interpolation of a quadratic is off by an eighth of the cell squared times f''.
        near(plane(x) ** 2 + plane(y) ** 2, level, (cell * cell) / 4 + 1e-9);
      }
      length += Math.hypot(plane(x2) - plane(x1), plane(y2) - plane(y1));
    }
    // Where it runs through a point of the grid, more of them may meet; an odd one would be a gap.
    assert.ok([...ends.values()].every((times) => times % 2 === 0), "a gap");
    near(length / (2 * Math.PI * Math.sqrt(level)), 1, 0.02);
  }
});

test("contour lines of a saddle go round the higher pair, or between, by the middle", () => {
  // Corners 0 and 2 are above; lines join sides, of which 0 is below and 1 at the right.
  const lines = (values) => contour(values, 2, 2, 0).map(([x1, y1, x2, y2]) =>
    [(x1 + x2) / 2, (y1 + y2) / 2]);
  const apart = lines([1, -3, -3, 1]), joined = lines([3, -1, -1, 3]);
  assert.equal(apart.length, 2);
  assert.equal(joined.length, 2);
  // Each line is nearest to the corner that it cuts off.
  const corner = ([x, y]) => `${Math.round(x)} ${Math.round(y)}`;
  assert.deepEqual(apart.map(corner).sort(), ["0 0", "1 1"]);
  assert.deepEqual(joined.map(corner).sort(), ["0 1", "1 0"]);
  // On a whole grid each inner end is shared by two lines: the hyperbola has no gap.
  const n = 20, ends = new Map();
  for (const [x1, y1, x2, y2] of contour(sample(n, (x, y) => x * y), n, n, 0.05)) {
    for (const [x, y] of [[x1, y1], [x2, y2]]) {
      if ([x, y].some((at) => at < 1e-9 || at > n - 1 - 1e-9)) continue;
      const key = `${x.toFixed(9)} ${y.toFixed(9)}`;
      ends.set(key, (ends.get(key) ?? 0) + 1);
    }
  }
  assert.ok([...ends.values()].every((times) => times % 2 === 0));
});

test("cells without a number have no contour line, and hurt no other", () => {
  const n = 9, values = sample(n, (x) => x), plane = toPlane(n);
  values[4 * n + 4] = NaN;
  values[0] = Infinity;
  const segments = contour(values, n, n, 0.1);
  assert.equal(segments.length, n - 1 - 2); // the column of cells right of the middle, less two
  for (const [x1, y1] of segments) {
    near(plane(x1), 0.1);
    assert.ok(y1 <= 3 || y1 >= 5);
  }
  assert.deepEqual(contour(sample(3, () => 1), 3, 3, 2), []);
});

test("a map's colours become ever lighter, so that they tell without their hue", () => {
  const linear = (byte) => (byte / 255 <= 0.04045 ? byte / 255 / 12.92
    : ((byte / 255 + 0.055) / 1.055) ** 2.4);
  // Luminance as WCAG has it.
  const light = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  let before = -1;
  for (let step = 0; step <= 50; step++) {
    const colour = ramp(step / 50);
    assert.ok(colour.every((byte) => Number.isInteger(byte) && byte >= 0 && byte <= 255));
    assert.ok(light(colour) > before, `${colour} at ${step}`);
    before = light(colour);
  }
  assert.ok((light(ramp(1)) + 0.05) / (light(ramp(0)) + 0.05) > 10);
  assert.deepEqual([ramp(-1), ramp(2)], [ramp(0), ramp(1)]);
});

test("a grid knows its places before its points come", () => {
  const request = { x: { direction: "random", from: -1, to: 1, points: 3 },
    y: { direction: "gradient", from: 0, to: 4, points: 2 } };
  const grid = new Grid(request);
  assert.deepEqual([grid.xs, grid.ys], [[-1, 0, 1], [0, 4]]);
  grid.set([{ x: -1, y: 0, loss: 5 }, { x: 0, y: 0, loss: "NaN" }, { x: 1, y: 0, loss: 7 },
    { x: -1, y: 4, loss: 8 }]);
  assert.deepEqual(grid.values("loss"), [5, NaN, 7, 8, undefined, undefined]);
  assert.deepEqual(grid.nearest(0.4, 3), { i: 1, j: 1 });
  assert.equal(grid.row({ i: 0, j: 1 }).loss, 8);
  assert.equal(grid.row({ i: 2, j: 1 }), undefined);
  const line = new Grid({ ...request, y: { direction: "none", from: -1, to: 1, points: 21 } });
  assert.ok(line.flat);
  assert.equal(line.values("loss").length, 3);
});

test("a node that stands alone is as high as its peak in the density", () => {
  const nodes = [{ run: 0, value: 0, weight: 0.75 }, { run: 0, value: 4, weight: 0.25 }];
  const deviation = Math.sqrt(1e-5 * 4); // PyHessian's
  const density = [-0.01, 0, 0.01, 2, 3.99, 4, 4.01].map((value) => ({ value,
    density: nodes.reduce((sum, node) => sum + node.weight
      * Math.exp(-((value - node.value) ** 2) / (2 * deviation ** 2)), 0)
      / (deviation * Math.sqrt(2 * Math.PI)) }));
  const drawn = columns(density, nodes, peakOf({ variance: 0 }, nodes));
  const [values, curve, stems] = drawn.columns;
  assert.deepEqual(values, [-0.01, 0, 0, 0.01, 2, 3.99, 4, 4, 4.01]);
  for (const at of [0, 4]) {
    const places = values.flatMap((value, i) => (value === at ? [i] : []));
    near(Math.max(...places.map((i) => curve[i] ?? 0)), Math.max(...places.map((i) => stems[i] ?? 0)),
      1e-9);
  }
  // Between them it is nothing, which has no logarithm: below the picture.
  assert.ok(curve[4] < drawn.floor && curve[4] > 0);
  assert.ok(drawn.floor < Math.min(...stems.filter((stem) => stem !== undefined)));
  // Over several runs each has its part of the density; a variance that was asked for counts.
  near(peakOf({ variance: 0.01 }, [{ run: 0, value: 0 }, { run: 1, value: 1 }]),
    1 / (2 * 0.1 * Math.sqrt(2 * Math.PI)));
});

test("radii of each perturbation share one axis, with their standard errors", () => {
  const { columns: drawn, bars } = series([
    { perturbation: 0, radius: 1, loss: 2, standard_error: 0.5 },
    { perturbation: 0, radius: 0.1, loss: 1, standard_error: 0.25 },
    { perturbation: 3, radius: 1, loss: "Infinity", standard_error: 0 },
  ]);
  assert.deepEqual(drawn, [[0.1, 1], [1, 2], [undefined, undefined], [undefined, undefined],
    [undefined, null]]);
  assert.deepEqual(bars[0], { low: [0.75, 1.5], high: [1.25, 2.5] });
});

test("a form knows the members of objects, and sends only what was set", () => {
  const members = membersOf([{ name: "update", type: "integer" }, { name: "seed", type: "integer" },
    { name: "x", type: "object", parameters: [{ name: "points", type: "integer" },
      { name: "update", type: "integer" }] }]);
  assert.deepEqual(members.map(({ path }) => path.join("/")), ["seed", "x/points", "x/update"]);
  assert.deepEqual(nest([[["kind"], "landscape"], [["x", "points"], 5], [["x", "to"], 2]]),
    { kind: "landscape", x: { points: 5, to: 2 } });
});

test("a sweep's table has a column for what differs and for what was measured", () => {
  const statistic = (mean, std, n = 2) => ({ mean, std, n });
  const row = (sigma, loss, lambda) => ({ label: `sigma ${sigma}`, seeds: 2, succeeded: 2, failed: 0,
    cancelled: 0, jobs: [1, 2], values: { "/method": { kind: "rwp", ramp: 0 }, "/method/sigma": sigma },
    train_loss: statistic(loss, 0.1), test_top1: statistic(0.5, 0.01),
    probes: { spectrum: { lambda_max: lambda, trace: statistic(null, null, 0) } } });
  const rows = [row(0.1, 3, statistic(10, 1)), row(0.05, "NaN", statistic(null, null, 0))];
  const table = columnsOf(rows, () => "links");
  assert.deepEqual(table.map(({ title }) => title),
    ["method", "method sigma", "Seeds", "Jobs", "Training loss", "Test acc.", "λ max"]);
  assert.deepEqual(table.map((column) => column.cell(rows[0])),
    ["rwp · ramp 0", "0.1", "2 of 2", "links", "3.00 ± 0.10", "50.0 ± 1.0 %", "10.0 ± 1.0"]);
  const by = (title, down) => sorted(rows, table.find((c) => c.title === title).value, down);
  assert.deepEqual(by("method sigma", false), [rows[1], rows[0]]);
  for (const down of [false, true]) { // what is not known is last
    assert.deepEqual(by("λ max", down), [rows[0], rows[1]]);
    assert.deepEqual(by("Training loss", down), [rows[0], rows[1]]);
  }
  assert.equal(spread(statistic(null, null, 0), percent), "–");
  assert.equal(spread(statistic(0.5, null, 1), (x) => percent(x)), "50.0 %");
  assert.equal(spread(statistic(20, 0), short), "20.0");
  assert.equal(valueText([1, 1, 1]), "1, 1, 1");
});

test("words sort as people count", () => {
  assert.deepEqual(sorted(["b10", "b9", "a"], (x) => x, false), ["a", "b9", "b10"]);
  assert.deepEqual(sorted([1, 3, 2], (x) => x, true), [3, 2, 1]);
});

test("a stream lets go of its connection when its page is left, and comes back with it", async () => {
  globalThis.window = new EventTarget();
  const opened = [];
  let next;
  const more = () => new Promise((resolve) => (next = resolve));
  let waiting = more();
  const stop = follow({
    event: () => {},
    open: (lastId, signal) => {
      const body = new ReadableStream({
        start(controller) {
          controller.enqueue(new TextEncoder().encode("id: 5\ndata: 1\n\n"));
          signal.addEventListener("abort", () => controller.error(signal.reason));
        },
      });
      opened.push({ lastId, signal });
      next();
      return Promise.resolve({ status: 200, body });
    },
  });
  await waiting;
  assert.equal(opened[0].signal.aborted, false);
  await new Promise((resolve) => setImmediate(resolve)); // the first event is read
  waiting = more();
  window.dispatchEvent(new Event("pagehide"));
  assert.equal(opened[0].signal.aborted, true);
  await waiting;
  assert.equal(opened[1].lastId, "5");
  stop();
  delete globalThis.window;
});
