/** The what-if line: the hit ratio that the traffic so far would have had with less memory, and with more. */

import { element, svg } from "./dom.js";

const PAUSE_MS = 5000; // between two requests for it
const [WIDTH, HEIGHT] = [320, 110];

export class WhatIf {
  constructor(app) {
    this._app = app;
    this._asked = 0;
    this._line = element("div", { class: "what-if" });
    this.element = element(
      "section",
      { class: "panel", hidden: true, "aria-labelledby": "what-if-title" },
      element("h2", { id: "what-if-title" }, "Hit ratio with other memory"),
      this._line,
    );
  }

  /** At most every few seconds, and only while it is in sight: the emulator computes it. */
  async update() {
    const { endpoint } = this._app.store;
    if (!endpoint || performance.now() - this._asked < PAUSE_MS) return;
    this._asked = performance.now() || 1;
    const response = await fetch("what-if").catch(() => null);
    const known = response?.ok ? await response.json().catch(() => ({})) : {};
    const variant = known.endpoints?.find((each) => each.endpoint_name === endpoint.endpoint_name && each.points.length);
    this._show((variant?.points ?? []).filter(({ hit_ratio }) => hit_ratio !== null));
  }

  _show(points) {
    this.element.hidden = points.length === 0;
    if (!points.length) return;
    const most = Math.max(...points.map(({ memory_factor }) => memory_factor));
    const x = (factor) => 34 + ((WIDTH - 60) * factor) / most;
    const y = (ratio) => HEIGHT - 22 - (HEIGHT - 40) * ratio;
    const said = points.map(({ memory_factor, hit_ratio }) => `${memory_factor} × memory: ${(100 * hit_ratio).toFixed(1)} %`);
    this._line.replaceChildren(
      svg(
        "svg",
        { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": said.join(", ") },
        [0, 1].map((ratio) => svg("line", { class: "axis", x1: 34, x2: WIDTH - 10, y1: y(ratio), y2: y(ratio) })),
        [0, 1].map((ratio) => svg("text", { x: 28, y: y(ratio) + 4, "text-anchor": "end" }, `${100 * ratio} %`)),
        svg("polyline", { class: "curve", points: points.map((each) => `${x(each.memory_factor)},${y(each.hit_ratio)}`).join(" ") }),
        points.map(({ memory_factor, hit_ratio }) => [
          svg("circle", { class: "point", cx: x(memory_factor), cy: y(hit_ratio), r: 3.5 }),
          svg("text", { x: x(memory_factor), y: HEIGHT - 6, "text-anchor": "middle" }, `${memory_factor} ×`),
        ]).flat(),
      ),
      element("ul", {}, said.map((line) => element("li", {}, line))),
    );
  }
}
