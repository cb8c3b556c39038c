/** Try it: a call of a model from the page, and its answer. */

import { waysToShow } from "./answer.js";
import { bodyOf } from "./call_sheet.js";
import { announce, button, choice, element, facts, labelled } from "./dom.js";
import { bytes, duration } from "./format.js";

const MOST_OFFERED = 50; // models, while a name is typed
const MOST_EDITABLE_BYTES = 256 * 1024;
const UNSIGNED =
  "With --access, calls have to be signed, and this page has no credentials to sign with. A program has: copy a call from the list of calls.";
const SAMPLES = "localmme-samples"; // in the browser's storage: by endpoint and model

export class TryView {
  constructor(app) {
    this._app = app;
    this._body = null; // bytes that are no text to edit
    this._names = element("datalist", { id: "model-names" });
    this._model = element("input", { list: "model-names", autocomplete: "off", class: "long", input: () => this._offer() });
    this._contentType = element("input", { list: "media-types", value: "application/json" });
    this._accept = element("input", { list: "media-types", value: "*/*" });
    this._text = element("textarea", { rows: "8", spellcheck: "false", input: () => this._setBody(null) });
    this._text.value = "{}";
    this._bodyNote = element("p", { class: "note", role: "status" });
    this._file = element("input", { type: "file", change: () => this._readFile() });
    this._send = element("button", { class: "primary" }, "Send");
    this._answer = element("section", { class: "panel", "aria-label": "Answer", "aria-live": "polite", hidden: true });
    const types = ["application/json", "text/csv", "application/x-npy", "application/octet-stream", "image/png", "image/jpeg"];
    this.element = element(
      "div",
      { class: "now" },
      element(
        "form",
        { class: "panel", "aria-labelledby": "try-title", submit: (event) => this._submitted(event) },
        element("h2", { id: "try-title" }, "Try it"),
        element("datalist", { id: "media-types" }, types.map((value) => element("option", { value }))),
        this._names,
        element("div", { class: "tools" }, labelled("Model", this._model), labelled("Content type", this._contentType), labelled("Accept", this._accept)),
        labelled("Body", this._text),
        element(
          "div",
          { class: "tools" },
          labelled("or a file", this._file),
          button("The last body", () => this._takeLast()),
          button("The kept sample", () => this._takeSample()),
          button("Keep as its sample", () => this._keepSample()),
        ),
        this._bodyNote,
        element("p", { class: "buttons" }, this._send),
      ),
      this._answer,
    );
  }

  /** Begin with a model, or with a call as it was. */
  take({ targetModel, call }) {
    this._model.value = targetModel ?? call.target_model;
    this._offer();
    if (call) this._takeCall(call);
  }

  update(changed) {
    if (changed.has("endpoints")) this._offer();
  }

  get _endpointName() {
    return this._app.store.endpoint?.endpoint_name ?? "";
  }

  _offer() {
    const typed = this._model.value.toLowerCase();
    const names = [];
    for (const name of this._app.store.endpoint?.models.keys() ?? []) {
      if (name.toLowerCase().includes(typed) && names.push(name) === MOST_OFFERED) break;
    }
    this._names.replaceChildren(...names.map((value) => element("option", { value })));
  }

  // The body

  _setBody(body, note = "") {
    this._body = body;
    this._bodyNote.textContent = note;
  }

  /** Bytes from somewhere: as text, if they are text that can be edited. */
  _takeBytes(body, from) {
    let text = null;
    try {
      if (body.length <= MOST_EDITABLE_BYTES) text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(body);
    } catch {
      // no text
    }
    if (text === null || /[\x00\r]/.test(text)) {
      this._text.value = "";
      return this._setBody(body, `The body is ${from}, ${bytes(body.length)}; text typed above takes its place.`);
    }
    this._text.value = text;
    this._setBody(null, `The body is ${from}.`);
  }

  async _readFile() {
    const [file] = this._file.files;
    if (file) this._takeBytes(new Uint8Array(await file.arrayBuffer()), `the file ${file.name}`);
  }

  async _takeCall(call) {
    const header = (name) => Object.entries(call.request_headers).find(([each]) => each.toLowerCase() === name)?.[1];
    this._contentType.value = header("content-type") ?? "";
    this._accept.value = header("accept") ?? "*/*";
    const body = await bodyOf(call);
    if (body) this._takeBytes(body, "that of the call");
    else announce("The body of that call is no longer kept.", true);
  }

  _takeLast() {
    const last = this._app.store.calls.findLast(
      (call) => call.endpoint_name === this._endpointName && call.target_model === this._model.value,
    );
    if (last) this._takeCall(last);
    else announce("No call of this model has been seen.", true);
  }

  _samples() {
    return JSON.parse(localStorage.getItem(SAMPLES) ?? "{}");
  }

  _keepSample() {
    const key = `${this._endpointName}\n${this._model.value}`;
    const sample = { text: this._text.value, contentType: this._contentType.value, accept: this._accept.value };
    localStorage.setItem(SAMPLES, JSON.stringify({ ...this._samples(), [key]: sample }));
    announce("Kept in this browser as the model's sample.");
  }

  _takeSample() {
    const sample = this._samples()[`${this._endpointName}\n${this._model.value}`];
    if (!sample) return announce("No sample of this model is kept.", true);
    this._text.value = sample.text;
    this._contentType.value = sample.contentType;
    this._accept.value = sample.accept;
    this._setBody(null, "The body is the kept sample.");
  }

  // The call

  async _submitted(event) {
    event.preventDefault();
    const headers = {};
    if (this._contentType.value) headers["Content-Type"] = this._contentType.value;
    if (this._accept.value) headers.Accept = this._accept.value;
    if (this._model.value) headers["X-Amzn-SageMaker-Target-Model"] = headerValue(this._model.value);
    const body = this._body ?? new TextEncoder().encode(this._text.value);
    this._send.disabled = true;
    const began = performance.now();
    try {
      const url = `/endpoints/${encodeURIComponent(this._endpointName)}/invocations`;
      const response = await fetch(url, { method: "POST", headers, body });
      const answer = new Uint8Array(await response.arrayBuffer());
      await this._show(response, answer, (performance.now() - began) * 1000);
    } catch (error) {
      announce(`The call failed: ${error.message}`, true);
    } finally {
      this._send.disabled = false;
    }
  }

  async _show(response, answer, took) {
    const contentType = response.headers.get("content-type") ?? "";
    const ways = await waysToShow(answer, contentType);
    const place = element("div");
    const show = (index) => place.replaceChildren(ways[index][1]());
    const requestId = response.headers.get("x-amzn-requestid");
    this._answer.hidden = false;
    this._answer.replaceChildren(
      element("h2", {}, response.ok ? "Answer" : "Error"),
      facts([
        ["Status", String(response.status)],
        ["Took, as the browser sees it", duration(took)],
        ["Size", bytes(answer.length)],
        ["Content type", contentType],
        ["Variant", response.headers.get("x-amzn-invoked-production-variant")],
      ]),
      element("p", { class: "note", hidden: response.status !== 403 }, UNSIGNED),
      element(
        "div",
        { class: "tools" },
        labelled("Show as", choice(ways.map(([name], index) => [index, name]), show)),
        button("Where its time was spent", () => this._openCall(requestId)),
      ),
      place,
    );
    show(0);
  }

  /** The stream may bring the call a moment after its answer. */
  async _openCall(requestId) {
    for (let tries = 0; tries < 30; tries++) {
      const call = this._app.store.calls.findLast((each) => each.request_id === requestId);
      if (call) return this._app.openCall(call);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    announce("The call is not among those kept.", true);
  }
}

/** A text as the bytes of a header's value, which is UTF-8 here. */
function headerValue(text) {
  return String.fromCharCode(...new TextEncoder().encode(text));
}
