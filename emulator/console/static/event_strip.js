/** What happened and why: a strip of marks by time, and the same as sentences. */

import { colour } from "./colours.js";
import { choice, element, labelled, setText } from "./dom.js";
import { LANES, laneOf } from "./event_kinds.js";
import { clock, clockWithMilliseconds } from "./format.js";
import { text, VirtualTable } from "./virtual_table.js";

const LANE_PX = 18;
const MARK_PX = 4;
const NAMES_PX = 26;
const SPANS = [[60, "1 minute"], [300, "5 minutes"], [900, "15 minutes"], [3600, "1 hour"]]; // seconds
const LETTERS = Object.fromEntries(LANES.map(({ id, letter }) => [id, letter]));

export class EventStrip {
  constructor(app) {
    this._app = app;
    this._severity = "";
    this._model = "";
    this._seconds = 300;
    this._window = null; // [from, to] that somebody has chosen in the strip
    this._canvas = element("canvas", { "aria-hidden": "true", click: (event) => this._pick(event) });
    this._scale = element("p", { class: "scale", "aria-hidden": "true" });
    this._picked = element("button", { type: "button", hidden: true, click: () => this._change({ _window: null }) }, "");
    this._table = new VirtualTable({ label: "Events, the latest first", className: "events", rowPx: 46, opened: (row) => this._open(row) });
    this._table.setColumns([
      { id: "time", label: "Time", width: "5.8em", fill: text((row) => clock(row.time)) },
      { id: "lane", label: "", hint: "Kind", width: "2.2em", fill: fillLane },
      { id: "what", label: "What happened, and why", fill: fillSentence },
      { id: "where", label: "Instance", width: "6.5em", className: "wide-only", fill: text((row) => row.instance_id || row.endpoint_name, { title: true }) },
    ]);
    const model = element("input", { type: "search", input: () => this._change({ _model: model.value.toLowerCase() }) });
    const severity = choice(
      [["", "All"], ["warning", "Warnings and errors"], ["error", "Errors"]],
      (value) => this._change({ _severity: value }),
    );
    const span = choice(SPANS, (value) => this._change({ _seconds: Number(value), _window: null }));
    span.value = String(this._seconds);
    this.element = element(
      "section",
      { class: "panel events-panel", "aria-labelledby": "events-title" },
      element("h2", { id: "events-title" }, "Events"),
      element(
        "div",
        { class: "tools" },
        labelled("Severity", severity),
        labelled("Model or text", model),
        labelled("Strip", span),
        this._picked,
      ),
      element("div", { class: "strip" }, this._canvas, this._scale),
      legend(),
      this._table.element,
    );
    this._width = 0;
    new ResizeObserver(() => {
      this._width = this._canvas.clientWidth;
      this._paint();
    }).observe(this._canvas);
    // The strip moves on by itself.
    setInterval(() => this.element.isConnected && !document.hidden && this._paint(), 1000);
  }

  update(changed) {
    if (!changed.has("events")) return;
    const rows = [];
    for (const event of this._events()) {
      if (this._window && (event.time < this._window[0] || event.time > this._window[1])) continue;
      event.key = event.sequence;
      event.className = event.severity;
      rows.push(event);
    }
    rows.reverse();
    this._table.setRows(rows, { keepInSight: true, empty: "Nothing has happened yet that the filter lets through." });
    this._picked.hidden = this._window === null;
    if (this._window) setText(this._picked, `${clock(this._window[0])} to ${clock(this._window[1])}: show all`);
    this._paint();
  }

  _change(settings) {
    Object.assign(this, settings);
    this.update(new Set(["events"]));
  }

  /** Those that the filter lets through, of the endpoint that is shown and of none. */
  _events() {
    const name = this._app.store.endpoint?.endpoint_name;
    return this._app.store.events.filter(
      (event) =>
        (!event.endpoint_name || !name || event.endpoint_name === name) &&
        (!this._severity || event.severity === this._severity || (this._severity === "warning" && event.severity === "error")) &&
        (!this._model || sentence(event).toLowerCase().includes(this._model)),
    );
  }

  _open(event) {
    if (event.target_model) this._app.openModel(event.target_model);
  }

  // The strip

  _span() {
    const end = Date.now() / 1000;
    return [end - this._seconds, end];
  }

  _paint() {
    const width = this._width;
    if (!width) return;
    const ratio = devicePixelRatio || 1;
    const height = LANES.length * LANE_PX;
    this._canvas.width = width * ratio;
    this._canvas.height = height * ratio;
    const context = this._canvas.getContext("2d");
    context.scale(ratio, ratio);
    const [start, end] = this._span();
    const slots = Math.max(1, Math.floor((width - NAMES_PX) / MARK_PX));
    const counts = LANES.map(() => new Uint16Array(slots));
    const lanes = new Map(LANES.map(({ id }, position) => [id, counts[position]]));
    for (const event of this._events()) {
      const slot = Math.floor(((event.time - start) / (end - start)) * slots);
      if (slot >= 0 && slot < slots) lanes.get(laneOf(event))[slot] += 1;
    }
    context.font = "12px system-ui, sans-serif";
    context.textBaseline = "middle";
    LANES.forEach(({ id, letter }, position) => {
      const bottom = (position + 1) * LANE_PX;
      context.fillStyle = colour("--muted");
      context.fillText(letter, 6, bottom - LANE_PX / 2 + 1);
      context.fillStyle = colour("--line");
      context.fillRect(NAMES_PX, bottom - 1, width - NAMES_PX, 1);
      context.fillStyle = colour(`--lane-${id}`);
      counts[position].forEach((count, slot) => {
        const tall = count && Math.min(LANE_PX - 3, 5 + 4 * Math.log2(count));
        if (count) context.fillRect(NAMES_PX + slot * MARK_PX, bottom - 1 - tall, MARK_PX - 1, tall);
      });
    });
    setText(this._scale, `${clock(start)} to ${clock(end)}`);
  }

  /** Show the events around a place of the strip. */
  _pick(event) {
    const { left, width } = this._canvas.getBoundingClientRect();
    const share = (event.clientX - left - NAMES_PX) / (width - NAMES_PX);
    const [start, end] = this._span();
    const time = start + share * (end - start);
    const around = (end - start) / 60;
    this._change({ _window: [time - around, time + around] });
  }
}

/** The model, if it is about one, and what happened. */
export function sentence(event) {
  const about = event.target_model || event.container;
  return about ? `${about}: ${event.text}` : event.text;
}

function fillSentence(cell, event) {
  if (cell.shown === event) return;
  cell.shown = event;
  // Two lines, and no more: a table's cell itself cannot be cut off like that.
  cell.replaceChildren(element("div", { class: "lines", title: `${clockWithMilliseconds(event.time)} ${sentence(event)}` }, sentence(event)));
}

export function fillLane(cell, event) {
  const lane = laneOf(event);
  setText(cell, LETTERS[lane]);
  const name = LANES.find(({ id }) => id === lane).name;
  if (cell.title !== name) {
    cell.title = name;
    cell.setAttribute("aria-label", name);
  }
  cell.className = `lane ${lane}`;
}

function legend() {
  return element(
    "ul",
    { class: "legend", "aria-label": "What the letters of events say" },
    LANES.map(({ id, letter, name }) => element("li", {}, element("span", { class: `lane ${id}`, "aria-hidden": "true" }, letter), ` ${name}`)),
  );
}
