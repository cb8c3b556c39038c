/** Elements and their text. Whatever comes from outside is text: nothing here parses markup. */

/** Make an element. Attributes that are functions listen to events; false, null and undefined are left out. */
export function element(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

/** The same for a part of a picture. */
export function svg(name, attributes = {}, ...children) {
  return filled(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);
}

function filled(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(name, value);
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

/** Set a node's text, if it is another one. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

let labels = 0;

/** A form's control with its label before it. */
export function labelled(label, control) {
  control.id ||= `control-${++labels}`;
  return element("span", { class: "field" }, element("label", { for: control.id }, label), control);
}

/** A check box with its label behind it. */
export function checkbox(label, changed, checked = false) {
  const box = element("input", { type: "checkbox", checked, change: () => changed(box.checked) });
  return element("label", { class: "check" }, box, label);
}

export function button(label, press, attributes = {}) {
  return element("button", { type: "button", click: press, ...attributes }, label);
}

/** A choice. Options are [value, label] pairs. */
export function choice(options, changed) {
  const made = options.map(([value, label]) => element("option", { value }, label));
  return element("select", { change: (event) => changed(event.target.value) }, made);
}

/** Tell a screen reader, and whoever looks at the foot of the page, what came of something. */
export function announce(text, failed = false) {
  const status = document.getElementById("announcement");
  setText(status, text);
  status.classList.toggle("failed", failed);
}

/** Name and value pairs. Values are nodes or text. */
export function facts(pairs) {
  return element(
    "dl",
    { class: "facts" },
    pairs.filter(([, value]) => value !== "" && value !== null && value !== undefined).map(([name, value]) =>
      element("div", {}, element("dt", {}, name), element("dd", {}, value)),
    ),
  );
}
