/** What the containers write, followed. */

import { checkbox, choice, element, labelled, setText } from "./dom.js";
import { clockWithMilliseconds, plain } from "./format.js";
import { openSheet } from "./sheet.js";
import { text, VirtualTable } from "./virtual_table.js";

export class LogsView {
  constructor(app) {
    this._app = app;
    this._container = "";
    this._text = "";
    this._follows = true;
    this._choices = "";
    this._count = element("p", { class: "count" });
    this._choice = choice([["", "All"]], (value) => this._change({ _container: value }));
    this._table = new VirtualTable({ label: "Lines of the containers' logs", className: "tall logs", opened: showWhole });
    this._table.setColumns([
      { id: "time", label: "Time", width: "8em", fill: text((line) => clockWithMilliseconds(line.time)) },
      { id: "container", label: "Container", width: "14em", className: "wide-only", fill: text(nameOf, { title: true }) },
      { id: "line", label: "Line", fill: text((line) => line.plain, { title: true }) },
    ]);
    const wanted = element("input", { type: "search", input: () => this._change({ _text: wanted.value.toLowerCase() }) });
    this.element = element(
      "section",
      { class: "panel", "aria-labelledby": "logs-title" },
      element("h2", { id: "logs-title" }, "Logs of the containers"),
      element(
        "div",
        { class: "tools" },
        labelled("Container", this._choice),
        labelled("With the text", wanted),
        checkbox("Follow", (checked) => this._change({ _follows: checked }), true),
        this._count,
      ),
      this._table.element,
    );
  }

  /** Show the log of one container. */
  take({ container }) {
    this._container = container;
  }

  update(changed) {
    if (!changed.has("logs")) return;
    const name = this._app.store.endpoint?.endpoint_name;
    const containers = new Set();
    const rows = [];
    for (const line of this._app.store.logs) {
      if (name && line.endpoint_name && line.endpoint_name !== name) continue;
      line.key = line.sequence;
      line.plain ??= plain(line.line);
      containers.add(nameOf(line));
      if (this._container && nameOf(line) !== this._container) continue;
      if (!this._text || line.plain.toLowerCase().includes(this._text)) rows.push(line);
    }
    if (this._container) containers.add(this._container);
    this._offer([...containers].sort());
    this._table.setRows(rows, { empty: "No line yet that the filter lets through." });
    if (this._follows) this._table.scrollToRow(rows.length);
    setText(this._count, `${rows.length} lines`);
  }

  _offer(containers) {
    const choices = containers.join("\n");
    if (choices !== this._choices) {
      this._choices = choices;
      this._choice.replaceChildren(
        element("option", { value: "" }, "All"),
        ...containers.map((name) => element("option", { value: name }, name)),
      );
    }
    this._choice.value = this._container;
  }

  _change(settings) {
    Object.assign(this, settings);
    this.update(new Set(["logs"]));
  }
}

function nameOf(line) {
  return `${line.instance_id} ${line.container}`.trim();
}

function showWhole(line) {
  const whole = element("pre", { class: "log-lines", tabindex: "0", "aria-label": "The line as a whole" }, line.plain);
  openSheet({ title: `${clockWithMilliseconds(line.time)} ${nameOf(line)}`, element: whole, update: () => {} });
}
