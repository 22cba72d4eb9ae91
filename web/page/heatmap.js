// A landscape over two directions as a map: colours with contour lines, the checkpoint and the
// lowest point marked, and the value of the point that the pointer, or the arrow keys, are at.
import { contour } from "./contours.js";
import { css, ramp } from "./ramp.js";
import { extent, linearSplits, Scale } from "./scale.js";
import { compact, make, onResize, say } from "./text.js";

const LEFT = 46, RIGHT = 66, TOP = 8, BOTTOM = 36; // around the map: axes, and the bar of colours
const BAR = 12, BAR_GAP = 14, TICK = 4;
const FONT = '11px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif';
const LINES = 12;          // about so many contour lines
const TALLEST = 420;
const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// options: title; name (for tests and styles); column of the points; tick(value) for the
// bar; kind: "linear" | "log"; labels: of x and y; point(place or null): the pointer has moved;
// describe(): in words
export class HeatMap {
  constructor(host, grid, options) {
    Object.assign(this, { grid, options, at: null, lowest: null });
    this.canvas = make("canvas", { tabIndex: 0, role: "img" });
    this.tools = make("div.chart-tools");
    this.reading = make("p.reading");
    this.figure = make("figure.chart.map", { "data-chart": options.name },
      make("figcaption", {}, make("h3", {}, options.title), this.tools), this.reading,
      this.canvas);
    host.append(this.figure);
    this.listen();
    this.watchSize = onResize(this.figure, () => {
      if (this.reading.clientWidth !== this.drawn) this.draw();
    });
  }

  listen() {
    this.canvas.addEventListener("pointermove", (event) => this.options.point(this.placeOf(event)));
    this.canvas.addEventListener("pointerleave", () => this.options.point(null));
    this.canvas.addEventListener("blur", () => this.options.point(null));
    this.canvas.addEventListener("keydown", (event) => {
      const step = STEPS[event.key], { nx, ny } = this.grid;
      if (!step) return;
      event.preventDefault();
      const { i, j } = this.at ?? this.grid.nearest(0, 0);
      const inside = (value, n) => Math.min(n - 1, Math.max(0, value));
      this.options.point({ i: inside(i + step[0], nx), j: inside(j + step[1], ny) });
    });
  }

  // ---- places ----

  measure() {
    const { xs, ys } = this.grid, room = Math.max(220, this.reading.clientWidth) - LEFT - RIGHT;
    const ratio = (ys.at(-1) - ys[0]) / (xs.at(-1) - xs[0]);
    const shape = Math.min(1.2, Math.max(0.5, ratio || 1));
    const across = Math.min(room, TALLEST / shape), down = across * shape;
    this.box = { width: across + LEFT + RIGHT, height: down + TOP + BOTTOM, across, down };
  }

  x(value) {
    const { xs } = this.grid;
    return LEFT + ((value - xs[0]) / (xs.at(-1) - xs[0] || 1)) * this.box.across;
  }

  y(value) {
    const { ys } = this.grid;
    return TOP + (1 - (value - ys[0]) / (ys.at(-1) - ys[0] || 1)) * this.box.down;
  }

  placeOf(event) {
    const { xs, ys } = this.grid, { across, down } = this.box;
    const right = (event.offsetX - LEFT) / across, up = 1 - (event.offsetY - TOP) / down;
    if (right < 0 || right > 1 || up < 0 || up > 1) return null;
    return this.grid.nearest(xs[0] + right * (xs.at(-1) - xs[0]), ys[0] + up * (ys.at(-1) - ys[0]));
  }

  // ---- what is shown ----

  // lowest: { x, y } or null
  set(lowest) {
    this.lowest = lowest;
    this.values = this.grid.values(this.options.column);
    this.draw();
  }

  get kind() {
    return this.options.kind;
  }

  set kind(kind) {
    this.options.kind = kind;
    this.draw();
  }

  mark(at, text) {
    this.at = at;
    say(this.reading, text);
    this.paint();
  }

  // The map without its marks, which move with the pointer, is drawn once.
  draw() {
    if (!this.values) return;
    const range = extent(this.values, this.kind === "log"), ratio = devicePixelRatio;
    this.drawn = this.reading.clientWidth;
    this.measure();
    const { width, height } = this.box;
    this.below = make("canvas",
      { width: Math.round(width * ratio), height: Math.round(height * ratio) });
    this.canvas.style.width = `${width}px`;
    this.canvas.style.height = `${height}px`;
    this.figure.dataset.points = this.grid.rows.length;
    const pen = this.below.getContext("2d");
    pen.scale(ratio, ratio);
    pen.font = FONT;
    this.drawAxes(pen);
    if (range) {
      this.scale = new Scale(this.kind, ...range);
      this.levels = range[0] < range[1] ? this.scale.splits(LINES) : [];
      this.drawColours(pen);
      this.drawLines(pen);
      this.drawBar(pen);
    }
    this.paint();
  }

  paint() {
    if (!this.below) return;
    const { width, height } = this.below, pen = this.canvas.getContext("2d");
    if (this.canvas.width !== width || this.canvas.height !== height) {
      Object.assign(this.canvas, { width, height });
    }
    this.canvas.setAttribute("aria-label", this.options.describe());
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.clearRect(0, 0, width, height);
    pen.drawImage(this.below, 0, 0);
    pen.setTransform(width / this.box.width, 0, 0, height / this.box.height, 0, 0);
    if (this.grid.rows.length) this.drawMarks(pen);
  }

  // A pixel a point, stretched: between the points' middles the colours go over into each other.
  drawColours(pen) {
    const { nx, ny } = this.grid, image = new ImageData(nx, ny), none = [128, 128, 128];
    this.values.forEach((value, k) => {
      if (value === undefined) return;
      const share = this.scale.share(value), row = ny - 1 - Math.floor(k / nx);
      image.data.set([...(Number.isNaN(share) ? none : ramp(share)), 255],
        4 * (row * nx + (k % nx)));
    });
    const small = make("canvas", { width: nx, height: ny });
    small.getContext("2d").putImageData(image, 0, 0);
    pen.imageSmoothingQuality = "high";
    const part = (n) => (n > 1 ? [0.5, n - 1] : [0, 1]); // from the first point's middle
    const [[left, wide], [top, high]] = [part(nx), part(ny)];
    pen.drawImage(small, left, top, wide, high, LEFT, TOP, this.box.across, this.box.down);
  }

  drawLines(pen) {
    const { nx, ny } = this.grid, { across, down } = this.box;
    const shares = this.values.map((v) => (v === undefined ? NaN : this.scale.share(v)));
    pen.lineCap = "round";
    this.levels.forEach((level) => {
      const share = this.scale.share(level);
      pen.strokeStyle = share < 0.6 ? "rgb(255 255 255 / 0.55)" : "rgb(0 0 0 / 0.4)";
      pen.lineWidth = 1;
      pen.beginPath();
      for (const [x1, y1, x2, y2] of contour(shares, nx, ny, share)) {
        pen.moveTo(LEFT + (x1 / (nx - 1)) * across, TOP + (1 - y1 / (ny - 1)) * down);
        pen.lineTo(LEFT + (x2 / (nx - 1)) * across, TOP + (1 - y2 / (ny - 1)) * down);
      }
      pen.stroke();
    });
  }

  // Twice, dark below light, so that they are seen on every colour.
  stroke(pen, path, width = 1.5) {
    for (const [style, more] of [["rgb(0 0 0 / 0.65)", 2], ["#fff", 0]]) {
      pen.strokeStyle = style;
      pen.lineWidth = width + more;
      pen.stroke(path);
    }
  }

  drawMarks(pen) {
    const { xs, ys } = this.grid, inside = (at, all) => at >= all[0] && at <= all.at(-1);
    if (inside(0, xs) && inside(0, ys)) this.stroke(pen, this.cross(this.x(0), this.y(0), 6));
    if (this.lowest) {
      const ring = new Path2D();
      ring.arc(this.x(this.lowest.x), this.y(this.lowest.y), 4.5, 0, 2 * Math.PI);
      this.stroke(pen, ring);
    }
    if (!this.at) return;
    const x = this.x(xs[this.at.i]), y = this.y(ys[this.at.j]), frame = new Path2D();
    frame.rect(x - 4, y - 4, 8, 8);
    this.stroke(pen, frame, 1);
  }

  cross(x, y, size) {
    const path = new Path2D();
    path.moveTo(x - size, y);
    path.lineTo(x + size, y);
    path.moveTo(x, y - size);
    path.lineTo(x, y + size);
    return path;
  }

  drawAxes(pen) {
    const { xs, ys } = this.grid, { across, down, height } = this.box;
    const [xLabel, yLabel] = this.options.labels;
    pen.fillStyle = colour("--soft");
    pen.textAlign = "center";
    pen.textBaseline = "top";
    for (const x of linearSplits(xs[0], xs.at(-1), Math.max(2, across / 60))) {
      pen.fillText(compact(x).replace("-", "−"), this.x(x), TOP + down + TICK);
    }
    pen.fillText(xLabel, LEFT + across / 2, height - 14);
    pen.textAlign = "right";
    pen.textBaseline = "middle";
    for (const y of linearSplits(ys[0], ys.at(-1), Math.max(2, down / 40))) {
      pen.fillText(compact(y).replace("-", "−"), LEFT - TICK - 2, this.y(y));
    }
    pen.save();
    pen.translate(8, TOP + down / 2);
    pen.rotate(-Math.PI / 2);
    pen.textAlign = "center";
    pen.fillText(yLabel, 0, 0);
    pen.restore();
  }

  // The colours with the levels that the lines stand for.
  drawBar(pen) {
    const { down, across } = this.box, left = LEFT + across + BAR_GAP;
    const colours = pen.createLinearGradient(0, TOP + down, 0, TOP);
    for (let step = 0; step <= 16; step++) colours.addColorStop(step / 16, css(ramp(step / 16)));
    pen.fillStyle = colours;
    pen.fillRect(left, TOP, BAR, down);
    pen.fillStyle = colour("--soft");
    pen.strokeStyle = colour("--soft");
    pen.textAlign = "left";
    pen.textBaseline = "middle";
    pen.lineWidth = 1;
    let free = Infinity; // labels that would overlap are left out
    for (const level of this.levels) {
      const y = TOP + (1 - this.scale.share(level)) * down;
      pen.beginPath();
      pen.moveTo(left + BAR, y);
      pen.lineTo(left + BAR + 3, y);
      pen.stroke();
      if (y > free - 13) continue;
      pen.fillText(this.options.tick(level), left + BAR + 6, y);
      free = y;
    }
  }

  close() {
    this.watchSize.disconnect();
  }
}
