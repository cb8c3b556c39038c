/** Faults: calls that are to fail, wait or break off, and those that are waiting for calls now. */

import { act, press } from "./actions.js";
import { button, choice, element, labelled, setText } from "./dom.js";

// Each fault with what it may have besides the calls that it is for.
const FAULTS = {
  ThrottlingException: [],
  ModelNotReadyException: [],
  ServiceUnavailable: [],
  InternalFailure: [],
  InternalDependencyException: [],
  AccessDeniedException: [],
  ValidationError: [],
  ModelError: ["status"],
  Latency: ["seconds", "jitter_seconds"],
  ConnectionCut: ["chunks"],
  ModelStreamError: ["chunks"],
  InternalStreamFailure: ["chunks"],
  ScarceMemory: ["fraction"],
  SlowS3: ["seconds", "bytes_per_second"],
};
const OF_ALL_ENDPOINTS = ["SlowS3"];
const LABELS = {
  status: "Status of the container",
  seconds: "Seconds",
  jitter_seconds: "Up to so many more, at random",
  chunks: "After so many chunks",
  fraction: "Of the memory, from 0 to 1",
  bytes_per_second: "Bytes a second, 0 for as fast as they come",
};
const DEFAULTS = { status: 500, seconds: 1, fraction: 0.5 };

export class FaultsView {
  constructor(app) {
    this._app = app;
    this._fault = choice(Object.keys(FAULTS).map((name) => [name, name]), () => this._offer());
    this._model = element("input", { placeholder: "all", class: "long" });
    this._times = element("input", { type: "number", min: "1", class: "short", placeholder: "all" });
    this._options = element("div", { class: "tools" });
    this._inputs = new Map();
    this._list = element("ul", { class: "faults" });
    this._none = element("p", { class: "note" });
    this.element = element(
      "div",
      { class: "now" },
      element(
        "form",
        { class: "panel", "aria-labelledby": "faults-title", submit: (event) => this._submitted(event) },
        element("h2", { id: "faults-title" }, "Make calls fail"),
        element("p", { class: "note" }, "As AWS would answer them. A model may be a pattern, such as europe/*."),
        element("div", { class: "tools" }, labelled("Fault", this._fault), labelled("For the model", this._model), labelled("For so many calls", this._times)),
        this._options,
        element("p", { class: "buttons" }, element("button", { class: "primary" }, "Inject")),
      ),
      element(
        "section",
        { class: "panel", "aria-labelledby": "active-title" },
        element("h2", { id: "active-title" }, "Faults that wait for calls"),
        this._none,
        this._list,
        element("p", { class: "buttons" }, button("Clear all", () => this._press("clear-faults", {}))),
      ),
    );
    this._offer();
  }

  /** Each injection is an event. */
  update(changed) {
    const injected = this._app.store.events.findLast(({ kind }) => kind.startsWith("fault"))?.sequence;
    if (!changed.has("endpoints") && injected === this._injected) return;
    this._injected = injected;
    this._refresh();
  }

  _offer() {
    this._inputs = new Map(
      FAULTS[this._fault.value].map((name) => [name, element("input", { type: "number", min: "0", step: "any", class: "short", value: DEFAULTS[name] ?? 0 })]),
    );
    this._options.replaceChildren(...[...this._inputs].map(([name, input]) => labelled(LABELS[name], input)));
  }

  async _submitted(event) {
    event.preventDefault();
    const members = { fault: this._fault.value };
    if (!OF_ALL_ENDPOINTS.includes(members.fault)) {
      members.endpoint_name = this._app.store.endpoint?.endpoint_name ?? "";
    }
    if (this._model.value) members.target_model = this._model.value;
    if (this._times.value) members.times = Number(this._times.value);
    for (const [name, input] of this._inputs) members[name] = Number(input.value);
    await this._press("fault", members);
  }

  async _press(action, members) {
    await press(this._app.store, action, members);
    await this._refresh();
  }

  async _refresh() {
    try {
      const { faults, sentences } = await act(this._app.store, "faults");
      setText(this._none, faults.length ? "" : "There are none.");
      const known = JSON.stringify(faults);
      if (known === this._known) return;
      this._known = known;
      this._list.replaceChildren(...faults.map(({ number }, position) => this._line(number, sentences[position])));
    } catch (error) {
      setText(this._none, error.message);
    }
  }

  _line(number, text) {
    const clear = button("Clear", () => this._press("clear-faults", { number }), { "aria-label": `Clear ${text}` });
    return element("li", {}, element("span", {}, text), clear);
  }
}
