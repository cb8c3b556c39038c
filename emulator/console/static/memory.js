/** The memory and the disk of each instance, against what it has. */

import { button, element, setText } from "./dom.js";
import { bytes, percent } from "./format.js";
import { nextVictim } from "./grid.js";

const WATERMARK = 0.9; // of the memory, that loads may fill, where the emulator does not say

export class MemoryPanel {
  constructor(app) {
    this._app = app;
    this._cards = new Map(); // by the instance's key
    this._list = element("ul", { class: "instances" });
    this.element = element(
      "section",
      { class: "panel", "aria-labelledby": "memory-title" },
      element("h2", { id: "memory-title" }, "Memory and disk"),
      this._list,
    );
  }

  update(changed) {
    if (!changed.has("models") && !changed.has("endpoints")) return;
    const instances = this._app.store.endpoint?.instances ?? [];
    if (instances.map(({ key }) => key).join() !== [...this._cards.keys()].join()) {
      this._cards = new Map(instances.map((instance, position) => [instance.key, new Card(instance, position, this._app)]));
      this._list.replaceChildren(...[...this._cards.values()].map((card) => card.element));
      this._list.classList.toggle("many", instances.length > 6);
    }
    for (const instance of instances) this._cards.get(instance.key).show(instance);
  }
}

class Card {
  constructor(instance, position, app) {
    this._health = element("span", { class: "health" });
    this._memory = new Bar(`Memory of ${instance.key}`, "Memory");
    this._disk = new Bar(`Disk of ${instance.key}`, "Disk");
    this._next = element("p", { class: "expected" });
    const name = button(instance.key, () => app.openInstance(instance.key), { class: "name" });
    this.element = element(
      "li",
      { class: "instance" },
      element("h3", {}, `${position + 1} `, name, " ", this._health),
      this._memory.element,
      this._disk.element,
      this._next,
    );
  }

  show(instance) {
    const { memory, volume } = instance;
    const expected = instance.expected_bytes ?? memory.expected_load_bytes ?? 0;
    setText(this._health, instance.healthy ? `healthy · ${instance.in_flight} in flight` : "✕ not healthy");
    this.element.classList.toggle("unhealthy", !instance.healthy);
    this._memory.show(memory.used_bytes, memory.budget_bytes, memory.watermark ?? WATERMARK, expected);
    this._disk.show(volume.used_bytes, volume.capacity_bytes);
    const victim = nextVictim(instance);
    const next = expected ? `the next load is expected to take ${bytes(expected)}` : "";
    const text = [victim && `▼ next to be unloaded: ${victim}`, next].filter(Boolean).join("; ");
    setText(this._next, text);
    this._next.title = text;
  }
}

/** A bar of what is used, with what is expected behind it, and the watermark. */
class Bar {
  constructor(label, name) {
    this._used = element("span", { class: "used" });
    this._expected = element("span", { class: "expected-part" });
    this._mark = element("span", { class: "watermark", hidden: true });
    this._text = element("span", { class: "bar-text" });
    this._meter = element(
      "div",
      { class: "bar", role: "meter", "aria-label": label, "aria-valuemin": "0", "aria-valuemax": "100" },
      this._used,
      this._expected,
      this._mark,
    );
    this.element = element("div", { class: "bar-row" }, element("span", { class: "bar-name" }, name), this._meter, this._text);
  }

  show(used = 0, whole = 0, watermark = null, expected = 0) {
    const share = (part) => `${whole ? Math.min(100, (100 * part) / whole) : 0}%`;
    this._used.style.setProperty("width", share(used));
    this._expected.style.setProperty("left", share(used));
    this._expected.style.setProperty("width", share(Math.min(expected, whole - used)));
    this._mark.hidden = watermark === null;
    if (watermark !== null) this._mark.style.setProperty("left", `${watermark * 100}%`);
    const over = watermark !== null && used > whole * watermark;
    this._meter.classList.toggle("full", over);
    const text = `${bytes(used)} of ${bytes(whole)} (${percent(used, whole) || "0 %"})`;
    setText(this._text, text);
    this._meter.setAttribute("aria-valuenow", whole ? Math.round((100 * used) / whole) : 0);
    this._meter.setAttribute("aria-valuetext", text + (over ? ", above the watermark" : ""));
    this._meter.title = watermark === null ? text : `${text}; loads may fill it to ${bytes(whole * watermark)}`;
  }
}
