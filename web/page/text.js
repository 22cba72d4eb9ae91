// Values as a person reads them, and DOM elements from a line of code.

// JSON has no NaN and no infinity; the daemon writes them as strings.
export function number(value) {
  if (value === null || value === undefined || value === "") return null;
  return Number(value);
}

// Short, with as many digits as tell something: 0.0123, 1.234, 56.7, 1.2e-9.
export function short(value, digits = 4) {
  const x = number(value);
  if (x === null) return "–";
  if (Number.isNaN(x)) return "NaN";
  if (!Number.isFinite(x)) return x > 0 ? "∞" : "−∞";
  if (x === 0) return "0";
  const size = Math.abs(x);
  if (size >= 1e6 || size < 1e-4) return x.toExponential(digits - 2).replace("-", "−");
  return x.toPrecision(digits).replace("-", "−");
}

export function percent(share, digits = 1) {
  const x = number(share);
  return x === null || Number.isNaN(x) ? "–" : `${(100 * x).toFixed(digits)} %`;
}

// 1234567 → 1 234 567, with narrow spaces that do not break.
export function count(value) {
  const x = number(value);
  return x === null ? "–" : String(Math.round(x)).replace(/\B(?=(\d{3})+$)/g, "\u202f");
}

// "1 epoch", "2 epochs"
export const counted = (n, noun) => `${count(n)} ${noun}${number(n) === 1 ? "" : "s"}`;

// What a job is called, or a sweep: whoever submits one need not name it.
export const called = ({ name, id }, what = "job") => name || `${what} ${id}`;

// For axes: 250000 → 250k, 6.9e12 stays one.
export function compact(value) {
  const size = Math.abs(value);
  if (size >= 1e9 || (size > 0 && size < 1e-3)) return value.toExponential().replace("e+", "e");
  if (size >= 1e6) return `${Number((value / 1e6).toPrecision(4))}M`;
  if (size >= 1e4) return `${Number((value / 1e3).toPrecision(4))}k`;
  return String(Number(value.toPrecision(4)));
}

export function bytes(value) {
  let x = value, unit = 0;
  const units = ["bytes", "KiB", "MiB", "GiB", "TiB"];
  while (x >= 1024 && unit < units.length - 1) {
    x /= 1024;
    unit++;
  }
  return `${unit ? x.toPrecision(3) : x} ${units[unit]}`;
}

export function duration(seconds) {
  const x = number(seconds);
  if (x === null || !Number.isFinite(x) || x < 0) return "–";
  if (x < 9.95) return `${x.toFixed(1)} s`;
  const s = Math.round(x);
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
}

export function ago(time, now = Date.now()) {
  const s = Math.max(0, (now - new Date(time)) / 1000);
  if (s < 45) return "just now";
  if (s < 3600) return `${Math.max(1, Math.round(s / 60))} min ago`;
  if (s < 86400) return `${Math.round(s / 3600)} h ago`;
  return `${Math.round(s / 86400)} d ago`;
}

export function clock(time) {
  return new Date(time).toLocaleString([], { dateStyle: "medium", timeStyle: "medium" });
}

// make("a.row", { href: "#/" }, "text", child, …): members that an element has as properties are
// set so, others as attributes.
export function make(what, members = {}, ...children) {
  const [tag, ...classes] = what.split(".");
  const element = document.createElement(tag);
  if (classes.length) element.className = classes.join(" ");
  for (const [name, value] of Object.entries(members)) {
    if (name in element) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

// Calls back with the frame that follows a change of an element's size: what it does to the layout
// then is no business of the observer's, which would complain. Until disconnect() is called.
export function onResize(element, callback) {
  let frame = 0;
  const observer = new ResizeObserver(() => {
    cancelAnimationFrame(frame);
    frame = requestAnimationFrame(callback);
  });
  observer.observe(element);
  return {
    disconnect() {
      observer.disconnect();
      cancelAnimationFrame(frame);
    },
  };
}

// Changes the document only where it differs, so that nothing flickers and selections stay.
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
