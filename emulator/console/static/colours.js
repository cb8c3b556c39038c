/** The style sheet's colours, for pictures on canvases. */

const dark = matchMedia("(prefers-color-scheme: dark)");
const known = new Map();
const computed = new Map();
dark.addEventListener("change", () => [known, computed].forEach((colours) => colours.clear()));

/** The value of a custom property, such as `--place-pinned`, as [red, green, blue] of 0 to 255. */
export function rgb(property) {
  if (!known.has(property)) {
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = 1;
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.fillStyle = colour(property);
    context.fillRect(0, 0, 1, 1);
    known.set(property, context.getImageData(0, 0, 1, 1).data.slice(0, 3));
  }
  return known.get(property);
}

/** The same as CSS. A property that depends on the scheme is computed by way of an element that has it as its colour. */
export function colour(property) {
  if (!computed.has(property)) {
    const probe = document.createElement("i");
    probe.style.setProperty("color", `var(${property})`);
    document.body.append(probe);
    computed.set(property, getComputedStyle(probe).color);
    probe.remove();
  }
  return computed.get(property);
}
