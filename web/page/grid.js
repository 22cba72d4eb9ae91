// The points of a landscape, as they come (x runs fastest), as a grid or a line. Points that are not
// there yet are undefined.
import { number } from "./text.js";

// The places of an axis, as the daemon computes them.
function places({ from, to, points }) {
  return Array.from({ length: points },
    (_, i) => (points === 1 ? from : from + ((to - from) * i) / (points - 1)));
}

export class Grid {
  // axes: request.x and request.y
  constructor({ x, y }) {
    this.flat = y.direction === "none";
    this.xs = places(x);
    this.ys = this.flat ? [0] : places(y);
    this.nx = this.xs.length;
    this.ny = this.ys.length;
    this.rows = [];
  }

  set(rows) {
    this.rows = rows;
    rows.slice(0, this.nx).forEach((row, i) => (this.xs[i] = number(row.x)));
    if (!this.flat) {
      for (let j = 0; j * this.nx < rows.length; j++) this.ys[j] = number(rows[j * this.nx].y);
    }
  }

  // What a column says at each point, undefined where there is none yet.
  values(name) {
    return Array.from({ length: this.nx * this.ny },
      (_, k) => (this.rows[k] === undefined ? undefined : number(this.rows[k][name])));
  }

  // The point that is nearest to a place.
  nearest(x, y) {
    const closest = (all, to) => all.reduce((best, at, i) =>
      (Math.abs(at - to) < Math.abs(all[best] - to) ? i : best), 0);
    return { i: closest(this.xs, x), j: closest(this.ys, y) };
  }

  row({ i, j }) {
    return this.rows[j * this.nx + i];
  }
}
