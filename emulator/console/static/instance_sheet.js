/** What can be done with an instance and its containers. */

import { press } from "./actions.js";
import { button, element, facts } from "./dom.js";

export class InstanceSheet {
  constructor(app, key) {
    this._app = app;
    this._key = key;
    this.title = `Instance ${key}`;
    this._facts = element("div");
    this._containers = element("div");
    this._known = "";
    this.element = element(
      "div",
      { class: "sheet-parts" },
      this._facts,
      element("section", {}, element("h3", {}, "Containers"), this._containers),
      element(
        "section",
        {},
        element("h3", {}, "The instance"),
        element("p", { class: "note" }, "Its containers end, and its memory and disk are gone, as when the machine fails; a new one takes its place."),
        button("Lose the instance", () => this._press("lose-instance", {}, `Lose the instance ${key}, with all that is in its memory and on its disk?`, "Lose it"), { class: "danger" }),
      ),
    );
  }

  get _instance() {
    return this._app.store.endpoint?.instances.find(({ key }) => key === this._key);
  }

  update() {
    const instance = this._instance;
    if (!instance) return this._facts.replaceChildren(element("p", {}, "The instance is gone."));
    this._facts.replaceChildren(
      facts([
        ["Variant", instance.variant_name],
        ["Health", instance.healthy ? "healthy" : "✕ not healthy"],
        ["Calls in flight", String(instance.in_flight)],
      ]),
    );
    const known = JSON.stringify(instance.containers);
    if (known === this._known) return;
    this._known = known;
    this._containers.replaceChildren(...instance.containers.map((container) => this._container(container)));
  }

  _container({ name, healthy, address, restarts }) {
    return element(
      "div",
      { class: "one-container" },
      facts([
        ["Container", name],
        ["Health", healthy ? "healthy" : "✕ not healthy"],
        ["Listens at", address ?? "nowhere"],
        ["Restarts", String(restarts)],
      ]),
      element(
        "p",
        { class: "buttons" },
        button("Restart", () => this._press("restart-container", { container: name }, `Restart the container ${name}? Its models leave the memory.`, "Restart it"), { "aria-label": `Restart ${name}` }),
        button("Kill", () => this._press("kill-container", { container: name }, `Kill the container ${name}, as when its memory runs out?`, "Kill it"), { class: "danger", "aria-label": `Kill ${name}` }),
        button("Its log", () => this._app.show("logs", { container: `${this._key} ${name}` }), { "aria-label": `Its log: ${name}` }),
      ),
    );
  }

  _press(action, more, question, yes) {
    const { variant_name, instance_id } = this._instance ?? {};
    const endpoint_name = this._app.store.endpoint.endpoint_name;
    press(this._app.store, action, { endpoint_name, variant_name, instance_id, ...more }, question, yes);
  }
}
