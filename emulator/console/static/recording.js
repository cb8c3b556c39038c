/** The button that begins and ends a recording of the emulator's events and calls. */

import { act, press } from "./actions.js";
import { button, element, setText } from "./dom.js";

export class Recording {
  constructor(app) {
    this._app = app;
    this._file = null;
    this._button = button("Record", () => this._press());
    this._note = element("span", { class: "note" });
    this.element = element("span", { class: "field" }, this._button, this._note);
  }

  /** Look whether something is recorded: it may have been begun elsewhere. */
  async refresh() {
    const { file = null } = await act(this._app.store, "recording").catch(() => ({}));
    this._file = file;
    setText(this._button, file ? "Stop recording" : "Record");
    setText(this._note, file ? `to ${file}` : "");
  }

  async _press() {
    await press(this._app.store, this._file ? "stop-recording" : "record");
    await this.refresh();
  }
}
