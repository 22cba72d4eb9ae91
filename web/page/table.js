// A table of results.
import { make } from "./text.js";

// columns: [{ title, doc, cell(row): text or element, text: left-aligned words,
//   value(row): what it is sorted by, without which it cannot be }];
// order: { column, down }, chosen by clicks on the heads and kept by the caller
export function table(caption, columns, rows, order = null, changed = () => {}) {
  const heads = columns.map((column, i) => {
    const head = make("th", { scope: "col", title: column.doc ?? "" });
    if (column.text) head.className = "words";
    if (!order || !column.value) {
      head.append(column.title);
      return head;
    }
    const chosen = order.column === i;
    const sign = !chosen ? "" : order.down ? "▾" : "▴";
    const mark = make("span.order", { "aria-hidden": "true" }, sign);
    const button = make("button.plain", { type: "button" }, column.title, mark);
    head.setAttribute("aria-sort", !chosen ? "none" : order.down ? "descending" : "ascending");
    button.addEventListener("click", () => changed({ column: i, down: chosen && !order.down }));
    head.append(button);
    return head;
  });
  const body = sorted(rows, columns[order?.column]?.value, order?.down).map((row) =>
    make("tr", {}, ...columns.map((column, i) => cellOf(column, i, row))));
  return make("table.results", {}, make("caption.hidden-text", {}, caption),
    make("thead", {}, make("tr", {}, ...heads)), make("tbody", {}, ...body));
}

// One that may be too large for its place; the keyboard moves it, too.
export const scrolled = (content) => make("div.scroll", { tabIndex: 0 }, content);

function cellOf(column, i, row) {
  const content = [column.cell(row)].flat();
  const cell = i === 0 ? make("th", { scope: "row" }, ...content) : make("td", {}, ...content);
  if (column.text) cell.className = "words";
  return cell;
}

// What is not known comes last, whichever way.
export function sorted(rows, value, down) {
  if (!value) return rows;
  const known = (x) => x !== null && x !== undefined && !Number.isNaN(x);
  return [...rows].sort((one, other) => {
    const [a, b] = [value(one), value(other)];
    if (!known(a) || !known(b)) return known(b) - known(a);
    const before = typeof a === "string" ? a.localeCompare(b, "en", { numeric: true }) : a - b;
    return down ? -before : before;
  });
}
