/** Where a model can be on an instance, and how that is written: never by colour alone. */

// In the order of the legend. The last ones are the ones that stand out where many models share a pixel.
export const PLACES = {
  in_s3: { letter: "·", word: "in S3 only" },
  on_disk: { letter: "D", word: "on disk" },
  in_memory: { letter: "M", word: "in memory" },
  pinned: { letter: "P", word: "pinned by calls" },
  downloading: { letter: "↓", word: "downloading" },
  loading: { letter: "L", word: "loading" },
  unloading: { letter: "U", word: "unloading" },
  failed: { letter: "!", word: "failed" },
};

export const NEXT_VICTIM = { letter: "▼", word: "next to be unloaded" };

export function placeOf(model, instance) {
  return model.locations[instance.key] ?? "in_s3";
}

const QUIET = ["in_s3", "on_disk", "failed"];

/** Whether a model is in memory somewhere, or on its way: what "only active" leaves. */
export function isActive(model) {
  return Object.values(model.locations).some((place) => !QUIET.includes(place));
}

/** The short name of an instance, if there are many of them: its number in the list. */
export function instanceLabel(instance, position, many) {
  return many ? String(position + 1) : instance.key;
}
