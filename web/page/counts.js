// How many jobs there are in each state, as buttons that leave only those in the list.
import { count, make, say } from "./text.js";

const ORDER = ["running", "queued", "paused", "failed", "succeeded", "cancelled"];

export class Counts {
  constructor(store, host) {
    this.store = store;
    this.buttons = ORDER.map((state) => {
      const button = make("button.count", { type: "button", title: `Only those ${state}` });
      button.dataset.count = state;
      button.addEventListener("click", () => store.choose(store.filter === state ? null : state));
      button.addEventListener("blur", () => this.show());
      return button;
    });
    host.replaceChildren(...this.buttons);
    this.show();
  }

  // What counts nothing is left out, unless it filters, or somebody is just there.
  show() {
    const { counts, filter } = this.store;
    for (const button of this.buttons) {
      const state = button.dataset.count, n = counts[state] ?? 0, chosen = filter === state;
      button.hidden = n === 0 && !chosen && button !== document.activeElement;
      button.setAttribute("aria-pressed", String(chosen));
      say(button, `${count(n)} ${state}`);
    }
  }
}
