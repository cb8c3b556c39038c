/** The lanes of the event strip: which events are told in which, and by which letter. */

export const LANES = [
  { id: "download", letter: "↓", name: "Downloads" },
  { id: "load", letter: "L", name: "Loads" },
  { id: "unload", letter: "U", name: "Unloads and evictions" },
  { id: "container", letter: "C", name: "Containers and endpoints" },
  { id: "trouble", letter: "!", name: "Warnings and errors" },
];

const BY_KIND = [
  [/download|extract/, "download"],
  [/unload|evict|deleted$/, "unload"],
  [/load/, "load"],
];

/** The lane of an event. Whatever is a warning or an error is in the lane for those. */
export function laneOf(event) {
  if (event.severity !== "info") return "trouble";
  if (!event.target_model) return "container";
  return BY_KIND.find(([pattern]) => pattern.test(event.kind))?.[1] ?? "container";
}
