/** The page as a whole: the store, its stream, and one view at a time. */

import { CallSheet } from "./call_sheet.js";
import { CallsView } from "./calls_view.js";
import { Connection } from "./connection.js";
import { element, setText } from "./dom.js";
import { FaultsView } from "./faults_view.js";
import { InstanceSheet } from "./instance_sheet.js";
import { LogsView } from "./logs_view.js";
import { ModelSheet } from "./model_sheet.js";
import { ModelsView } from "./models_view.js";
import { NowView } from "./now_view.js";
import { closeSheet, openSheet, updateSheet } from "./sheet.js";
import { Store } from "./store.js";
import { TryView } from "./try_view.js";

const store = new Store();
/** What views may do beyond themselves. */
const app = {
  store,
  show,
  openModel: (targetModel) => openSheet(new ModelSheet(app, targetModel)),
  openInstance: (key) => openSheet(new InstanceSheet(app, key)),
  openCall: (call) => openSheet(new CallSheet(app, call)),
};
const VIEWS = [
  ["now", "Now", new NowView(app)],
  ["models", "Models", new ModelsView(app)],
  ["calls", "Calls", new CallsView(app)],
  ["try", "Try it", new TryView(app)],
  ["logs", "Logs", new LogsView(app)],
  ["faults", "Faults", new FaultsView(app)],
];
const links = new Map();
let current = null;

/** Go to a view. `wish` is for the view itself: a model that it is to show, say. */
function show(name, wish = null) {
  closeSheet();
  if (wish) VIEWS.find(([each]) => each === name)?.[2].take?.(wish);
  if (location.hash === `#${name}`) route();
  else location.hash = name;
}

function route() {
  const wanted = location.hash.slice(1);
  if (wanted === "main") return; // the link that skips the navigation
  const [name, title, view] = VIEWS.find(([each]) => each === wanted) ?? VIEWS[0];
  for (const [each, link] of links) {
    if (each === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${title} · localmme`;
  current = view;
  document.getElementById("main").replaceChildren(view.element);
  view.update(new Set(["connection", "endpoints", "models", "events", "calls", "logs"]));
}

function header(changed) {
  if (changed.has("connection")) {
    const { url, region, version } = store.emulator;
    setText(document.getElementById("emulator"), [url, region, version && `version ${version}`].filter(Boolean).join(" · "));
    const status = document.getElementById("connection");
    setText(status, store.connected ? "live" : "no connection: trying again");
    status.classList.toggle("lost", !store.connected);
  }
  if (changed.has("endpoints")) {
    const select = document.getElementById("endpoint");
    const options = [...store.endpoints.values()].map(({ endpoint_name, status }) =>
      element("option", { value: endpoint_name }, `${endpoint_name} (${status})`),
    );
    select.replaceChildren(...(options.length ? options : [element("option", { value: "" }, "there is none")]));
    select.value = store.endpoint?.endpoint_name ?? "";
  }
}

for (const [name, title] of VIEWS) {
  const link = element("a", { href: `#${name}` }, title);
  links.set(name, link);
  document.getElementById("views").append(element("li", {}, link));
}
document.getElementById("endpoint").addEventListener("change", (event) => store.choose(event.target.value));
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  document.getElementById("main").focus();
});
window.addEventListener("hashchange", route);
store.subscribe((changed) => {
  header(changed);
  current.update(changed);
  updateSheet(changed);
});
header(new Set(["connection", "endpoints"]));
route();
new Connection(store);
