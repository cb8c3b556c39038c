/** The time line of a call: on what its time was spent, as a bar and as a table. */

import { element, svg } from "./dom.js";
import { duration } from "./format.js";

/** The steps of a call with, between them, the time that is the emulator's own. In microseconds. */
export function withOwnTime(call) {
  const parts = [];
  let at = 0;
  const own = (until) => until > at && parts.push({ name: "localmme", container: "", start_us: at, duration_us: until - at });
  for (const step of [...call.steps].sort((a, b) => a.start_us - b.start_us)) {
    own(step.start_us);
    parts.push(step);
    at = Math.max(at, step.start_us + step.duration_us);
  }
  own(call.duration_us);
  return parts;
}

function className(name) {
  return `step step-${name.replace(/[^a-z]+/g, "-")}`;
}

/** A bar as long as the call took, by the longest one that is shown. */
export function bar(call, longest) {
  const whole = Math.max(1, longest ?? call.duration_us);
  const said = withOwnTime(call).map(({ name, duration_us }) => `${name} ${duration(duration_us)}`).join(", ");
  return svg(
    "svg",
    { class: "steps", viewBox: "0 0 1000 10", preserveAspectRatio: "none", role: "img", "aria-label": said },
    withOwnTime(call).map(({ name, start_us, duration_us }) =>
      svg("rect", {
        class: className(name),
        x: (1000 * start_us) / whole,
        width: Math.max(2, (1000 * duration_us) / whole),
        height: 10,
      }),
    ),
  );
}

/** One line for each step. */
export function timeLine(call) {
  const whole = Math.max(1, call.duration_us);
  const lines = withOwnTime(call).map((step) => {
    const mark = svg("rect", {
      class: className(step.name),
      x: (1000 * step.start_us) / whole,
      width: Math.max(3, (1000 * step.duration_us) / whole),
      height: 10,
    });
    const picture = svg("svg", { class: "steps", viewBox: "0 0 1000 10", preserveAspectRatio: "none", "aria-hidden": "true" }, mark);
    return element(
      "tr",
      {},
      element("th", { scope: "row" }, step.name),
      element("td", { class: "number" }, duration(step.duration_us)),
      element("td", { class: "number" }, `at ${duration(step.start_us)}`),
      element("td", { class: "line" }, picture),
    );
  });
  const head = ["Step", "Took", "Began", "Time line"].map((name) => element("th", { scope: "col" }, name));
  return element("table", { class: "time-line" }, element("thead", {}, element("tr", {}, head)), element("tbody", {}, lines));
}
