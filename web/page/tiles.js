// A few numbers side by side, each with its name and a note.
import { make, say } from "./text.js";

// host: a dl.tiles; rows: [name, value, note], of the same names each time
export function tiles(host, rows) {
  if (host.children.length !== rows.length) {
    host.replaceChildren(...rows.map(([name]) =>
      make("div.tile", {}, make("dt", {}, name), make("dd"), make("p"))));
  }
  rows.forEach(([, value, note = ""], i) => {
    say(host.children[i].children[1], value);
    say(host.children[i].children[2], note);
  });
}
