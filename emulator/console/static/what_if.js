/** The what-if line: the hit ratio that the traffic so far would have had with less memory, and with more. */

import { element, svg } from "./dom.js";

const PAUSE_MS = 5000; // between two requests for it
const [WIDTH, HEIGHT] = [320, 120];
const [LEFT, RIGHT, TOP, BOTTOM] = [40, 20, 12, 24]; // margins

export class WhatIf {
  constructor(app) {
    this._app = app;
    this._asked = -PAUSE_MS;
    this._variants = element("div", { class: "what-ifs" });
    this.element = element(
      "section",
      { class: "panel", hidden: true, "aria-labelledby": "what-if-title" },
      element("h2", { id: "what-if-title" }, "The hit ratio with other memory"),
      this._variants,
    );
  }

  /** At most every few seconds, and only while it is in sight: the emulator simulates it. */
  async update() {
    const name = this._app.store.endpoint?.endpoint_name;
    if (!name || performance.now() - this._asked < PAUSE_MS) return;
    this._asked = performance.now();
    const response = await fetch("what-if").catch(() => null);
    const { endpoints = [] } = response?.ok ? await response.json() : {};
    const variants = endpoints.filter(({ endpoint_name }) => endpoint_name === name);
    this.element.hidden = variants.length === 0;
    this._variants.replaceChildren(...variants.map((variant) => shown(variant, variants.length > 1)));
  }
}

function shown({ variant_name, calls, measured_hit_ratio, points, reason }, several) {
  const known = points.filter(({ hit_ratio }) => hit_ratio !== null);
  const measured = measured_hit_ratio === null ? "" : `; measured: ${inPercent(measured_hit_ratio)}`;
  const from = known.length ? `Simulated from ${calls} calls${measured}.` : reason || "Not even the container fits.";
  const said = known.map(({ memory_factor, hit_ratio }) => `${memory_factor} × memory: ${inPercent(hit_ratio)}`);
  return element(
    "div",
    { class: "what-if" },
    known.length > 0 && curve(known, said),
    element("div", {}, several && element("h3", {}, variant_name), element("ul", {}, said.map((line) => element("li", {}, line))), element("p", { class: "note" }, from)),
  );
}

function curve(points, said) {
  // Twice the memory is as far from once as once is from half.
  const [least, most] = [points[0], points.at(-1)].map(({ memory_factor }) => Math.log2(memory_factor));
  const x = ({ memory_factor }) => LEFT + ((WIDTH - LEFT - RIGHT) * (Math.log2(memory_factor) - least)) / (most - least || 1);
  const y = (ratio) => HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * ratio;
  return svg(
    "svg",
    { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": said.join(", ") },
    [0, 0.5, 1].map((ratio) => svg("line", { class: "axis", x1: LEFT, x2: WIDTH - RIGHT, y1: y(ratio), y2: y(ratio) })),
    [0, 0.5, 1].map((ratio) => svg("text", { x: LEFT - 6, y: y(ratio) + 4, "text-anchor": "end" }, inPercent(ratio))),
    svg("polyline", { class: "curve", points: points.map((point) => `${x(point)},${y(point.hit_ratio)}`).join(" ") }),
    points.map((point) => svg("circle", { class: "point", cx: x(point), cy: y(point.hit_ratio), r: 3.5 })),
    points.map((point) => svg("text", { x: x(point), y: HEIGHT - 6, "text-anchor": "middle" }, `${point.memory_factor} ×`)),
  );
}

function inPercent(ratio) {
  return `${Math.round(100 * ratio)} %`;
}
