// What can be done to a job or a sweep, as buttons.
import { make } from "./text.js";

export class Actions {
  // `actions`: what each is called, and when it can be done to a thing; a click calls `act`.
  constructor(actions, act) {
    this.buttons = Object.entries(actions).map(([action, { label, when }]) => {
      const button = make("button", { type: "button", "data-action": action }, label);
      button.addEventListener("click", () => act(action));
      return { button, when };
    });
    this.element = make("div.actions", {}, ...this.buttons.map(({ button }) => button));
  }

  show(thing, disabled) {
    for (const { button, when } of this.buttons) {
      button.hidden = !when(thing);
      button.disabled = disabled;
    }
    this.element.hidden = this.buttons.every(({ button }) => button.hidden);
  }
}
