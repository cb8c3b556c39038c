/** What is where now, and what has just happened. */

import { element } from "./dom.js";
import { EventStrip } from "./event_strip.js";
import { Grid } from "./grid.js";
import { MemoryPanel } from "./memory.js";

export class NowView {
  constructor(app) {
    this._parts = [new MemoryPanel(app), new Grid(app), new EventStrip(app)];
    const [memory, grid, events] = this._parts.map((part) => part.element);
    this.element = element("div", { class: "now" }, memory, element("div", { class: "two" }, grid, events));
  }

  update(changed) {
    for (const part of this._parts) part.update(changed);
  }
}
