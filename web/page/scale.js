// From values to places and back: scales, and the round numbers that are drawn on them.

// A log scale's lines: 1, 2 and 5 of each power of ten, or where there are many powers every second
// one, every third, …: uPlot's own become a carpet.
export function logSplits(low, high, most) {
  const from = Math.floor(Math.log10(low)), to = Math.ceil(Math.log10(high));
  const digits = 3 * Math.log10(high / low) <= most ? [1, 2, 5] : [1];
  const step = Math.max(1, Math.ceil((to - from) / most)), splits = [];
  for (let power = Math.ceil(from / step) * step; power <= to; power += step) {
    for (const digit of digits) splits.push(Number(`${digit}e${power}`));
  }
  return splits.filter((value) => value >= low && value <= high);
}

// Multiples of 1, 2 or 5 times a power of ten, at most so many.
export function linearSplits(low, high, most) {
  if (!(high > low)) return [];
  const unit = 10 ** Math.floor(Math.log10((high - low) / most));
  const all = (step) => {
    const splits = [];
    for (let n = Math.ceil(low / step); n * step <= high; n++) {
      splits.push(Number((n * step).toPrecision(12)));
    }
    return splits;
  };
  return [1, 2, 5, 10, 20].map((digit) => all(digit * unit)).find((s) => s.length <= most) ?? [];
}

// The lowest and highest of what is finite (and of what has a logarithm); null where there is none.
export function extent(values, logarithmic = false) {
  let low = Infinity, high = -Infinity;
  for (const value of values) {
    if (!Number.isFinite(value) || (logarithmic && value <= 0)) continue;
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return low <= high ? [low, high] : null;
}

// Maps low..high to 0..1; what is no finite number, or has no logarithm, becomes NaN.
export class Scale {
  constructor(kind, low, high) {
    Object.assign(this, { kind, low, high });
    this.from = this.map(low);
    this.span = this.map(high) - this.from || 1;
  }

  map(value) {
    return this.kind === "log" ? Math.log10(value) : value;
  }

  share(value) {
    if (!Number.isFinite(value) || (this.kind === "log" && value <= 0)) return NaN;
    return (this.map(value) - this.from) / this.span;
  }

  value(share) {
    const mapped = this.from + share * this.span;
    return this.kind === "log" ? 10 ** mapped : mapped;
  }

  // Round values on it, at most so many. A log scale of less than a decade has too few.
  splits(most) {
    const splits = this.kind === "log" ? logSplits(this.low, this.high, most) : [];
    return splits.length >= 3 ? splits : linearSplits(this.low, this.high, most);
  }
}
