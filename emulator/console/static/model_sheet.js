/** All that is known of one model: where it is, its figures, its story; and what can be done with it. */

import { press } from "./actions.js";
import { button, element, facts, setText } from "./dom.js";
import { ago, bytes, containersWords, clockWithMilliseconds, duration, percent, plain } from "./format.js";
import { fillLane } from "./event_strip.js";
import { nextVictim } from "./grid.js";
import { NEXT_VICTIM, placeOf, PLACES } from "./places.js";
import { statistics } from "./statistics.js";

const MOST_EVENTS = 200;

export class ModelSheet {
  constructor(app, targetModel) {
    this._app = app;
    this._name = targetModel;
    this.title = targetModel;
    this._facts = element("div");
    this._places = element("tbody");
    this._error = element("pre", { class: "error-text", tabindex: "0", "aria-label": "Its last error", hidden: true });
    this._story = element("ol", { class: "story" });
    this._told = null; // how many events, and the latest one's number
    this._instances = "";
    const head = ["Instance", "Where it is there", "Actions"].map((name) => element("th", { scope: "col" }, name));
    this.element = element(
      "div",
      { class: "sheet-parts" },
      element(
        "p",
        { class: "buttons" },
        button("Try it", () => app.show("try", { targetModel }), { class: "primary" }),
        button("Its calls", () => app.show("calls", { targetModel })),
      ),
      this._facts,
      this._error,
      element("section", {}, element("h3", {}, "Where it is"), element("table", { class: "places" }, element("thead", {}, element("tr", {}, head)), this._places)),
      element("section", {}, element("h3", {}, "What happened to it, the latest first"), this._story),
    );
  }

  update(changed) {
    const { store } = this._app;
    const { endpoint } = store;
    const model = endpoint?.models.get(this._name);
    if (model && (changed.has("models") || changed.has("endpoints"))) {
      this._showPlaces(endpoint, model);
      this._showFacts(endpoint, model);
    }
    if (changed.has("events")) this._showStory();
  }

  _buttons({ key, variant_name, instance_id }) {
    const { endpoint_name } = this._app.store.endpoint;
    const members = { endpoint_name, variant_name, instance_id, target_model: this._name };
    const make = (label, where, action, question = "", attributes = {}) =>
      button(label, () => press(this._app.store, action, members, question, label), { "aria-label": `${label} ${where} ${key}`, ...attributes });
    const lost = `Delete ${this._name} from the disk of ${key}? Its next call there downloads it again.`;
    return [
      make("Unload", "from", "unload-model"),
      make("Reload", "on", "reload-model"),
      make("Delete", "from the disk of", "delete-model", lost, { class: "danger" }),
    ];
  }

  _showFacts(endpoint, model) {
    const seen = statistics(this._app.store.calls, endpoint.endpoint_name).get(this._name);
    this._facts.replaceChildren(
      facts([
        ["Archive", model.in_s3 ? bytes(model.size_bytes) : "not in S3"],
        ["On disk", model.on_disk ? bytes(model.size_on_disk_bytes) : "no"],
        ["Memory when it was loaded", bytes(model.memory_bytes) || "not measured"],
        ["Last call", ago(model.last_used)],
        ["Calls", String(model.invocations)],
        ["Hit ratio", percent(model.cache_hits, model.invocations)],
        ["p50", duration(seen?.p50)],
        ["p99", duration(seen?.p99)],
        ["Downloads", String(model.downloads)],
        ["Loads", model.failed_loads ? `${model.loads}, and ${model.failed_loads} failed` : String(model.loads)],
        ["Unloads", String(model.unloads)],
        ["Errors of its container", String(model.model_errors)],
      ]),
    );
    this._error.hidden = !seen?.lastError;
    setText(this._error, containersWords(seen?.lastError ?? ""));
  }

  /** The buttons stay as they are while the instances do: one of them may have the focus. */
  _showPlaces(endpoint, model) {
    const instances = endpoint.instances.map(({ key }) => key).join("\n");
    if (instances !== this._instances || !this._places.children.length) {
      this._instances = instances;
      this._places.replaceChildren(
        ...endpoint.instances.map((instance) =>
          element(
            "tr",
            {},
            element("th", { scope: "row" }, instance.key),
            element("td"),
            element("td", { class: "buttons" }, this._buttons(instance)),
          ),
        ),
      );
    }
    endpoint.instances.forEach((instance, position) => {
      const place = placeOf(model, instance);
      const [, cell, last] = this._places.children[position].children;
      const next = nextVictim(instance) === this._name ? ` ${NEXT_VICTIM.letter} ${NEXT_VICTIM.word}` : "";
      setText(cell, `${PLACES[place]?.letter ?? ""} ${PLACES[place]?.word ?? place}${next}`);
      cell.className = `place ${place}`;
      const [unload, reload, remove] = last.children;
      unload.disabled = !["in_memory", "pinned"].includes(place);
      reload.disabled = remove.disabled = place === "in_s3";
    });
  }

  _showStory() {
    const name = this._app.store.endpoint?.endpoint_name;
    const events = this._app.store.events.filter((event) => event.target_model === this._name && event.endpoint_name === name);
    const told = `${events.length} ${events.at(-1)?.sequence}`;
    if (told === this._told) return;
    this._told = told;
    const lines = events.slice(-MOST_EVENTS).reverse().map((event) => {
      const lane = element("span");
      fillLane(lane, event);
      lane.setAttribute("role", "img");
      return element(
        "li",
        { class: event.severity },
        element("time", {}, clockWithMilliseconds(event.time)),
        lane,
        element("span", {}, plain(event.text), event.instance_id && element("span", { class: "note" }, ` on ${event.instance_id}`)),
      );
    });
    this._story.replaceChildren(...(lines.length ? lines : [element("li", { class: "note" }, "Nothing that is still kept.")]));
  }
}
