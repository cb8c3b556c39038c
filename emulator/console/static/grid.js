/** The grid: where each model is, on each instance. */

import { checkbox, element, labelled, setText } from "./dom.js";
import { ago, bytes, folder } from "./format.js";
import { GridMap } from "./grid_map.js";
import { instanceLabel, isActive, NEXT_VICTIM, placeOf, PLACES } from "./places.js";
import { text, VirtualTable } from "./virtual_table.js";

const WORDS_FIT = 2; // instances, up to which cells have words in place of letters
const MOST_BESIDE = 8; // instances, up to which there is room for the events beside the grid
const phone = matchMedia("(max-width: 40rem)"); // as in the style sheet

const ORDERS = {
  name: (a, b) => (a.target_model < b.target_model ? -1 : 1),
  size: (a, b) => sizeOf(a) - sizeOf(b),
  used: (a, b) => (a.last_used ?? 0) - (b.last_used ?? 0),
};

function hasMany(instances) {
  return phone.matches || instances.length > WORDS_FIT;
}

function sizeOf(model) {
  return model.memory_bytes ?? (model.size_on_disk_bytes || model.size_bytes);
}

export class Grid {
  constructor(app) {
    this._app = app;
    this._search = "";
    this._grouped = false;
    this._onlyActive = false;
    this._closed = new Set(); // folders
    this._order = { id: "name", descending: false };
    this._columnsOf = null;
    this._table = new VirtualTable({
      label: "Models by instance",
      className: "grid",
      opened: (row) => this._open(row),
      sorted: (id) => this._sortBy(id),
    });
    this._map = new GridMap((index) => this._table.scrollToRow(index));
    this._table.scroller.addEventListener("scroll", () => this._map.mark(this._table.inSight));
    phone.addEventListener("change", () => this.update(new Set(["endpoints"])));
    this._count = element("p", { class: "count", role: "status" });
    const search = element("input", { type: "search", input: () => this._change({ _search: search.value.toLowerCase() }) });
    this.element = element(
      "section",
      { class: "panel grid-panel", "aria-labelledby": "grid-title" },
      element("h2", { id: "grid-title" }, "Models and instances"),
      element(
        "div",
        { class: "tools" },
        labelled("Search", search),
        checkbox("Group by folder", (checked) => this._change({ _grouped: checked })),
        checkbox("Only active", (checked) => this._change({ _onlyActive: checked })),
        this._count,
      ),
      legend(),
      element("div", { class: "beside" }, this._table.element, this._map.element),
    );
  }

  update(changed) {
    if (!changed.has("models") && !changed.has("endpoints")) return;
    const { endpoint } = this._app.store;
    if (changed.has("endpoints")) this._setColumns(endpoint);
    const rows = endpoint ? this._rows(endpoint) : [];
    const empty = endpoint?.models.size ? "No model matches." : "There is no model: its archive in S3 would show here.";
    this._table.setRows(rows, { empty });
    this.element.classList.toggle("many", (endpoint?.instances.length ?? 0) > MOST_BESIDE);
    this._map.show(rows, endpoint?.instances ?? [], this._table.inSight);
    const shown = rows.filter((row) => !row.folder).length;
    const all = endpoint?.models.size ?? 0;
    if (!this._grouped) setText(this._count, shown === all ? `${all} models` : `${shown} of ${all} models`);
    else setText(this._count, `${rows.length - shown} folders, ${all} models`);
  }

  _change(settings) {
    Object.assign(this, settings);
    this.update(new Set(["models"]));
  }

  _sortBy(id) {
    this._order = { id, descending: this._order.id === id ? !this._order.descending : id !== "name" };
    this._columnsOf = null;
    this.update(new Set(["endpoints"]));
  }

  _open(row) {
    if (!row.folder) return this._app.openModel(row.target_model);
    if (!this._closed.delete(row.folder)) this._closed.add(row.folder);
    this._change({});
  }

  _setColumns(endpoint) {
    const instances = endpoint?.instances ?? [];
    const many = hasMany(instances);
    const wanted = [many, ...instances.map(({ key, healthy }) => `${key} ${healthy}`)].join("\n");
    if (wanted === this._columnsOf) return;
    this._columnsOf = wanted;
    this._table.setColumns(
      [
        { id: "name", label: "Model", sort: true, width: phone.matches ? "12em" : instances.length > MOST_BESIDE ? "18em" : "", className: "first", fill: fillName },
        { id: "size", label: "Size", sort: true, width: "6.5em", className: "number wide-only", fill: fillSize },
        { id: "used", label: "Last call", sort: true, width: "7.5em", className: "number wide-only", fill: fillUsed },
        ...instances.map((instance, position) => ({
          id: instance.key,
          label: instanceLabel(instance, position, many) + (instance.healthy ? "" : "✕"),
          hint: `${instance.key}${instance.healthy ? "" : ", not healthy"}`,
          width: many ? "2.3em" : "9.5em",
          className: many ? "place narrow" : "place",
          fill: (cell, row) => fillPlace(cell, row, instance, many),
        })),
      ],
      this._order,
    );
  }

  _rows(endpoint) {
    const rows = [];
    for (const model of endpoint.models.values()) {
      if (this._search && !model.target_model.toLowerCase().includes(this._search)) continue;
      if (this._onlyActive && !isActive(model)) continue;
      model.key = model.target_model;
      rows.push(model);
    }
    rows.sort(ORDERS[this._order.id]);
    if (this._order.descending) rows.reverse();
    return this._grouped ? this._inFolders(rows) : rows;
  }

  _inFolders(models) {
    const folders = new Map();
    for (const model of models) {
      const name = folder(model.target_model) || "(no folder)";
      if (!folders.has(name)) folders.set(name, []);
      folders.get(name).push(model);
    }
    return [...folders.keys()].sort().flatMap((name) => {
      const inside = folders.get(name);
      const closed = this._closed.has(name);
      const row = { key: `folder ${name}`, folder: name, inside, closed, className: "folder" };
      return closed ? [row] : [row, ...inside];
    });
  }
}

const fillName = text(
  (row) => (row.folder ? `${row.closed ? "▸" : "▾"} ${row.folder} (${row.inside.length})` : row.target_model),
  { title: true },
);
const fillSize = text((row) => bytes(row.folder ? row.inside.reduce((sum, model) => sum + sizeOf(model), 0) : sizeOf(row)));
const fillUsed = text((row) =>
  ago(row.folder ? row.inside.reduce((last, { last_used }) => (last_used > last ? last_used : last), null) : row.last_used),
);

function fillPlace(cell, row, instance, many) {
  let word, description;
  let [letter, className] = ["", "place"];
  if (row.folder) {
    const loaded = row.inside.filter((model) => ["in_memory", "pinned"].includes(placeOf(model, instance))).length;
    word = loaded ? (many ? `${loaded}` : `${loaded} in memory`) : "";
    description = `${row.folder} on ${instance.key}: ${loaded} in memory of ${row.inside.length}`;
  } else {
    const place = placeOf(row, instance);
    const next = nextVictim(instance) === row.target_model;
    ({ letter, word } = PLACES[place] ?? { letter: "?", word: place });
    className = `place ${place}${next ? " next" : ""}`;
    description = `${row.target_model} on ${instance.key}: ${word}${next ? `, ${NEXT_VICTIM.word}` : ""}`;
  }
  if (cell.shown === description) return;
  cell.shown = description;
  // The letter is drawn by the style sheet: it is no part of what is read out.
  cell.dataset.letter = letter;
  setText(cell, many && letter ? "" : word);
  cell.className = `${className}${many ? " narrow" : ""}`;
  cell.title = description;
  cell.setAttribute("aria-label", description);
}

/** The model of an instance that leaves first when a load needs room; empty = none. */
export function nextVictim(instance) {
  return instance.next_victim ?? instance.memory.next_victim ?? "";
}

function legend() {
  const item = ({ letter, word }, place) =>
    element("li", {}, element("span", { class: `place ${place}`, "aria-hidden": "true" }, letter), ` ${word}`);
  return element(
    "ul",
    { class: "legend", "aria-label": "What the letters say" },
    Object.entries(PLACES).map(([place, each]) => item(each, place)),
    item(NEXT_VICTIM, "next"),
  );
}
