/** The models of the endpoint, with how often and how fast each was called. */

import { element, labelled } from "./dom.js";
import { containersWords, duration, percent } from "./format.js";
import { COLD_PARTS, meanColdStart, meanPart, statistics } from "./statistics.js";
import { text, VirtualTable } from "./virtual_table.js";
import { WhatIf } from "./what_if.js";

const NOT_SEEN = { p50: NaN, p99: NaN, lastError: "" };

export class ModelsView {
  constructor(app) {
    this._app = app;
    this._search = "";
    this._order = { id: "calls", descending: true };
    this._whatIf = new WhatIf(app);
    this._table = new VirtualTable({
      label: "Figures of the models",
      className: "tall figures",
      opened: (row) => app.openModel(row.key),
      sorted: (id) => this._sortBy(id),
    });
    this._setColumns();
    const search = element("input", { type: "search", input: () => this._change({ _search: search.value.toLowerCase() }) });
    this.element = element(
      "div",
      { class: "now" },
      this._whatIf.element,
      element(
        "section",
        { class: "panel", "aria-labelledby": "models-title" },
        element("h2", { id: "models-title" }, "Models"),
        element("div", { class: "tools" }, labelled("Search", search)),
        element(
          "p",
          { class: "note" },
          "Calls, hit ratio and errors since the endpoint was created. Cold starts, their parts (on average) and the times of calls: of those seen by this page.",
        ),
        this._table.element,
      ),
    );
  }

  update(changed) {
    this._whatIf.update(changed);
    if (!changed.has("models") && !changed.has("calls") && !changed.has("endpoints")) return;
    const { store } = this._app;
    const { endpoint } = store;
    const figures = endpoint ? statistics(store.calls, endpoint.endpoint_name) : new Map();
    const rows = [];
    for (const model of endpoint?.models.values() ?? []) {
      if (this._search && !model.target_model.toLowerCase().includes(this._search)) continue;
      const cold = store.coldStartsOf(endpoint.endpoint_name, model.target_model);
      rows.push({ key: model.target_model, model, cold, seen: figures.get(model.target_model) ?? NOT_SEEN });
    }
    const { of } = COLUMNS.find(({ id }) => id === this._order.id);
    const rank = (value) => (Number.isNaN(value) ? -1 : value);
    rows.sort((a, b) => (rank(of(a)) < rank(of(b)) ? -1 : rank(of(a)) > rank(of(b)) ? 1 : 0));
    if (this._order.descending) rows.reverse();
    this._table.setRows(rows, { empty: "No model matches." });
  }

  _change(settings) {
    Object.assign(this, settings);
    this.update(new Set(["models"]));
  }

  _sortBy(id) {
    this._order = { id, descending: this._order.id === id ? !this._order.descending : id !== "model" };
    this._setColumns();
    this._change({});
  }

  _setColumns() {
    const columns = COLUMNS.map(({ of, show = String, title, ...column }) => ({
      sort: true,
      ...column,
      fill: text((row) => show(of(row), row), { title }),
    }));
    this._table.setColumns(columns, this._order);
  }
}

const number = (id, label, of, show, more = {}) => ({ id, label, of, show, width: "5.4em", className: "number", ...more });
const wide = { className: "number wide-only" };

const COLUMNS = [
  { id: "model", label: "Model", of: (row) => row.key, title: true, className: "first" },
  number("calls", "Calls", (row) => row.model.invocations, undefined, { width: "4.5em" }),
  number("hits", "Hits", (row) => row.model.cache_hits / (row.model.invocations || NaN), (_, { model }) => percent(model.cache_hits, model.invocations), {
    width: "4.5em",
    hint: "Calls whose model was in memory",
  }),
  number("p50", "p50", (row) => row.seen.p50, duration, wide),
  number("p99", "p99", (row) => row.seen.p99, duration),
  number("cold", "Cold", (row) => row.cold.count, undefined, { ...wide, width: "4.5em", hint: "Cold starts" }),
  number("start", "Cold start", (row) => meanColdStart(row.cold), duration, { ...wide, width: "6.2em", hint: "How long one took, without the container" }),
  ...Object.keys(COLD_PARTS).map((name) =>
    number(name, name[0].toUpperCase() + name.slice(1), (row) => meanPart(row.cold, name), duration, { ...wide, width: { "make room": "6.8em", download: "6.2em" }[name] ?? "5.2em" }),
  ),
  number("errors", "Errors", (row) => row.model.model_errors + row.model.failed_loads, undefined, {
    width: "4.5em",
    hint: "Calls that its container did not answer with 2xx, and failed loads",
  }),
  { id: "last", label: "Last error", of: (row) => containersWords(row.seen.lastError), title: true, width: "12%", className: "wide-only" },
];
