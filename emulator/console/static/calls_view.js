/** The calls of the endpoint: the last few thousand. */

import { choice, element, labelled, setText } from "./dom.js";
import { bytes, clockWithMilliseconds, duration } from "./format.js";
import { Recording } from "./recording.js";
import { bar } from "./steps.js";
import { text, VirtualTable } from "./virtual_table.js";

const STEP_NAMES = ["localmme", "wait", "download", "extract", "make room", "load", "container"];

const STATUSES = {
  "": () => true,
  bad: (call) => call.status >= 400 || call.error_code !== "",
  good: (call) => call.status < 400 && call.error_code === "",
  4: (call) => call.status >= 400 && call.status < 500,
  5: (call) => call.status >= 500,
};

export class CallsView {
  constructor(app) {
    this._app = app;
    this._model = "";
    this._status = "";
    this._slowUs = 0;
    this._cold = "";
    this._longest = 1;
    this._recording = new Recording(app);
    this._count = element("p", { class: "count", role: "status" });
    this._table = new VirtualTable({ label: "Calls, the latest first", className: "tall", opened: (call) => app.openCall(call) });
    this._table.setColumns([
      { id: "time", label: "Time", width: "8em", fill: text((call) => clockWithMilliseconds(call.time)) },
      { id: "model", label: "Model", fill: text((call) => call.target_model || call.endpoint_name, { title: true }) },
      { id: "status", label: "Status", width: "5em", fill: text((call) => call.status) },
      { id: "took", label: "Took", width: "6em", className: "number", fill: text((call) => duration(call.duration_us)) },
      { id: "line", label: "Time line", width: "22%", className: "wide-only", fill: (cell, call) => this._fillLine(cell, call) },
      { id: "cold", label: "", hint: "Whether it waited for its model", width: "4em", fill: text((call) => (call.cold ? "cold" : "")) },
      { id: "request", label: "Request", width: "6em", className: "number wide-only", fill: text((call) => bytes(call.request_bytes)) },
      { id: "response", label: "Response", width: "6.6em", className: "number wide-only", fill: text((call) => bytes(call.response_bytes)) },
      { id: "instance", label: "Instance", width: "9em", className: "wide-only", fill: text((call) => call.instance_id, { title: true }) },
    ]);
    this._modelInput = element("input", { type: "search", input: () => this._change({ _model: this._modelInput.value }) });
    const slow = element("input", { type: "number", min: "0", step: "1", class: "short", input: () => this._change({ _slowUs: slow.value * 1000 }) });
    const status = choice(
      [["", "All"], ["good", "Without error"], ["bad", "Errors"], ["4", "4xx"], ["5", "5xx"]],
      (value) => this._change({ _status: value }),
    );
    const cold = choice([["", "All"], ["cold", "Cold"], ["warm", "Warm"]], (value) => this._change({ _cold: value }));
    this.element = element(
      "section",
      { class: "panel", "aria-labelledby": "calls-title" },
      element("h2", { id: "calls-title" }, "Calls"),
      element(
        "div",
        { class: "tools" },
        labelled("Model or error", this._modelInput),
        labelled("Status", status),
        labelled("Slower than, ms", slow),
        labelled("Model was", cold),
        this._recording.element,
        this._count,
      ),
      element(
        "ul",
        { class: "legend", "aria-label": "Steps" },
        STEP_NAMES.map((name) => element("li", {}, element("span", { class: `swatch step-${name.replace(" ", "-")}`, "aria-hidden": "true" }), ` ${name}`)),
      ),
      this._table.element,
    );
  }

  /** Show the calls of one model. */
  take({ targetModel }) {
    this._modelInput.value = targetModel;
    this._model = targetModel;
  }

  update(changed) {
    if (changed.has("endpoints")) this._recording.refresh();
    if (!changed.has("calls")) return;
    const { store } = this._app;
    const name = store.endpoint?.endpoint_name;
    const model = this._model.toLowerCase();
    const rows = store.calls.filter(
      (call) =>
        (!name || call.endpoint_name === name) &&
        STATUSES[this._status](call) &&
        call.duration_us >= this._slowUs &&
        (!this._cold || call.cold === (this._cold === "cold")) &&
        (!model || `${call.target_model}\n${call.error_code}\n${call.error}`.toLowerCase().includes(model)),
    );
    rows.reverse();
    for (const row of rows) {
      row.key = row.sequence;
      row.className = row.status >= 400 || row.error_code ? "error" : "";
    }
    this._longest = rows.slice(0, 200).reduce((longest, { duration_us }) => Math.max(longest, duration_us), 1);
    this._table.setRows(rows, { keepInSight: true, empty: "No call yet that the filter lets through." });
    const leftOut = store.leftOut ? `; ${store.leftOut} more came too fast to be sent here` : "";
    setText(this._count, `${rows.length} calls${leftOut}`);
  }

  _change(settings) {
    Object.assign(this, settings);
    this.update(new Set(["calls"]));
  }

  _fillLine(cell, call) {
    if (cell.shown === call && cell.longest === this._longest) return;
    cell.shown = call;
    cell.longest = this._longest;
    cell.replaceChildren(bar(call, this._longest));
  }
}
