/** How sizes, times and texts are shown. */

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB"];

/** A number of bytes, as the emulator's own log writes it. */
export function bytes(count) {
  if (count === null || count === undefined) return "";
  let unit = 0;
  while (count >= 1024 && unit < UNITS.length - 1) {
    count /= 1024;
    unit += 1;
  }
  return `${unit && count < 100 ? count.toFixed(1) : Math.round(count)} ${UNITS[unit]}`;
}

/** A duration of microseconds. */
export function duration(us) {
  if (us === null || us === undefined || Number.isNaN(us)) return "";
  if (us === 0) return "0";
  if (us < 1000) return `${Math.round(us)} µs`;
  if (us < 1e6) return `${us < 1e4 ? (us / 1000).toFixed(1) : Math.round(us / 1000)} ms`;
  return us < 6e7 ? `${(us / 1e6).toFixed(1)} s` : `${Math.round(us / 6e7)} min`;
}

const CLOCK = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });

/** A time of day. Times are seconds since 1970. */
export function clock(time) {
  return CLOCK.format(time * 1000);
}

export function clockWithMilliseconds(time) {
  return `${clock(time)}.${String(Math.floor((time % 1) * 1000)).padStart(3, "0")}`;
}

/** How long ago a time was. */
export function ago(time, now = Date.now() / 1000) {
  if (time === null || time === undefined) return "never";
  const seconds = Math.max(0, now - time);
  if (seconds < 60) return `${Math.floor(seconds)} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  return `${Math.floor(seconds / 3600)} h ago`;
}

export function percent(part, whole) {
  return whole ? `${Math.round((100 * part) / whole)} %` : "";
}

/** The value below which that share of sorted values lies. */
export function quantile(sorted, share) {
  return sorted.length ? sorted[Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)] : NaN;
}

// CSI and OSC sequences and the other escapes of ECMA-48, then whatever else is a control character but the tab and the end of a line.
const ESCAPES = /\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[PX^_][^\x1b]*(?:\x1b\\)?|[ -/]*[0-~])/g;
const CONTROLS = /[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]/g;

/** A text that somebody else has written, without what would colour or move it in a terminal. */
export function plain(text) {
  return text.replaceAll("\r\n", "\n").replace(ESCAPES, "").replace(CONTROLS, "\ufffd");
}

/** Of a ModelError's message, what the container itself has said; of another text, all of it. */
export function containersWords(message) {
  return plain(/with message "([^]*)"\. See https:/.exec(message)?.[1].trim() ?? message);
}

/** The folder of a model: all before the last slash. */
export function folder(targetModel) {
  return targetModel.slice(0, targetModel.lastIndexOf("/") + 1);
}
