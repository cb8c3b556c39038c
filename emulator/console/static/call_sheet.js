/** All that is known of one call. */

import { copies, FILE } from "./copy_as.js";
import { announce, button, element, facts } from "./dom.js";
import { bytes, clockWithMilliseconds, duration, plain } from "./format.js";
import { timeLine } from "./steps.js";

const MOST_LINES = 200;

export class CallSheet {
  constructor(app, call) {
    this._app = app;
    this._call = call;
    this.title = `Call of ${call.target_model || call.endpoint_name}`;
    this._lines = element("pre", { class: "log-lines", tabindex: "0", "aria-label": "Lines of the container's log" });
    this._copies = element("div", { class: "copies" });
    this.element = element(
      "div",
      { class: "sheet-parts" },
      this._facts(),
      call.error && element("section", {}, element("h3", {}, "Error"), element("pre", { class: "error-text", tabindex: "0", "aria-label": "The error" }, plain(call.error))),
      element("section", {}, element("h3", {}, "Where its time was spent"), timeLine(call)),
      element("section", {}, element("h3", {}, "Headers that reached the container"), headers(call.request_headers)),
      element("section", {}, element("h3", {}, "What the container wrote in that time"), this._lines),
      element("section", {}, element("h3", {}, "Copy as"), this._copies),
      element(
        "p",
        { class: "buttons" },
        call.target_model && button("About the model", () => app.openModel(call.target_model)),
        button("Try it with this body", () => app.show("try", { call })),
      ),
    );
    this._showCopies();
  }

  update(changed) {
    if (!changed.has("logs")) return;
    const { time, duration_us, instance_id } = this._call;
    const end = Math.max(Math.floor(time) + 1, time + duration_us / 1e6 + 0.5);
    const lines = this._app.store.logs.filter(
      (line) => line.instance_id === instance_id && instance_id && line.time >= Math.floor(time) && line.time <= end,
    );
    const shown = lines.slice(0, MOST_LINES).map((line) => `${clockWithMilliseconds(line.time)} ${line.container}  ${plain(line.line)}`);
    if (lines.length > MOST_LINES) shown.push(`and ${lines.length - MOST_LINES} more`);
    this._lines.textContent = shown.join("\n") || "nothing that is still kept";
  }

  _facts() {
    const call = this._call;
    return facts([
      ["Received", clockWithMilliseconds(call.time)],
      ["Took", duration(call.duration_us)],
      ["Status", call.error_code ? `${call.status} ${call.error_code}` : String(call.status)],
      ["Model", call.cold === null ? call.target_model : `${call.target_model} (${call.cold ? "cold" : "warm"})`],
      ["Endpoint", call.endpoint_name],
      ["Variant", call.variant_name],
      ["Instance", call.instance_id],
      ["Request", bytes(call.request_bytes)],
      ["Response", bytes(call.response_bytes)],
      ["Operation", call.operation],
      ["Request id", call.request_id],
    ]);
  }

  async _showCopies() {
    const body = await bodyOf(this._call);
    const texts = copies(this._call, this._app.store.emulator, body);
    const url = `calls/${this._call.sequence}/body`;
    this._copies.replaceChildren(
      ...texts.map(([name, text]) =>
        element(
          "details",
          { name: "copy-as" },
          element("summary", {}, name),
          element("pre", { tabindex: "0", "aria-label": `The call for ${name}`, "data-copy": name }, text),
          button("Copy", () => copy(name, text), { "aria-label": `Copy for ${name}` }),
        ),
      ),
      element(
        "p",
        { class: "note" },
        texts.length ? "boto3 and the AWS CLI need credentials; any will do, but with --access. " : "The input of an asynchronous call is in S3. ",
        body === null ? `The body is no longer kept: put yours into ${FILE}.` : element("a", { href: url, download: FILE }, "Download its body"),
      ),
    );
  }
}

/** The body of a call as a Uint8Array; null if it is not kept. */
export async function bodyOf(call) {
  try {
    const response = await fetch(`calls/${call.sequence}/body`);
    return response.ok ? new Uint8Array(await response.arrayBuffer()) : null;
  } catch {
    return null;
  }
}

async function copy(name, text) {
  try {
    await navigator.clipboard.writeText(text);
    announce(`Copied for ${name}.`);
  } catch {
    announce("The browser does not let this page copy: select the text.", true);
  }
}

function headers(sent) {
  const lines = Object.entries(sent).map(([name, value]) =>
    element("tr", {}, element("th", { scope: "row" }, name), element("td", {}, plain(value))),
  );
  return lines.length ? element("table", { class: "headers" }, element("tbody", {}, lines)) : element("p", { class: "note" }, "none");
}
