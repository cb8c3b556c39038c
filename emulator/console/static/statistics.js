/** Figures of models, computed from the calls that the page has seen. */

import { quantile } from "./format.js";

// The parts of a cold start, each with the steps that it is made of.
export const COLD_PARTS = {
  wait: ["wait", "wait for container"],
  download: ["download"],
  extract: ["extract"],
  "make room": ["make room"],
  load: ["load"],
};

/** By target model: {p50, p99, errors, lastError, seen}. Durations in microseconds. */
export function statistics(calls, endpointName) {
  const found = new Map();
  for (const call of calls) {
    if (call.endpoint_name !== endpointName || !call.target_model) continue;
    let figures = found.get(call.target_model);
    if (!figures) found.set(call.target_model, (figures = { durations: [], errors: 0, lastError: "", seen: 0 }));
    figures.seen += 1;
    figures.durations.push(call.duration_us);
    if (call.error_code || call.status >= 400) {
      figures.errors += 1;
      figures.lastError = call.error || call.error_code || String(call.status);
    }
  }
  for (const figures of found.values()) {
    figures.durations.sort((a, b) => a - b);
    figures.p50 = quantile(figures.durations, 0.5);
    figures.p99 = quantile(figures.durations, 0.99);
  }
  return found;
}

/** How long a part of a cold start took on average, in microseconds; NaN = none was seen. */
export function meanPart({ count, parts }, name) {
  return COLD_PARTS[name].reduce((sum, step) => sum + (parts[step] ?? 0), 0) / (count || NaN);
}

export function meanColdStart(seen) {
  return Object.keys(COLD_PARTS).reduce((sum, name) => sum + meanPart(seen, name), 0);
}
