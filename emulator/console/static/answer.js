/** The answer to a call as JSON, as a table, as an image, as text or as hex. */

import { element } from "./dom.js";

const MOST_ROWS = 200;
const MOST_BYTES_OF_HEX = 4096;
const MOST_LETTERS = 200_000;

/** The ways to show an answer, the best first: [name, function that returns an element]. */
export async function waysToShow(bytes, contentType) {
  const ways = [];
  const text = asText(bytes);
  const image = /^image\//.test(contentType) ? await imageOf(bytes, contentType) : null;
  if (image) ways.push(["Image", () => image]);
  const json = text === null ? undefined : asJson(text);
  const rows = json !== undefined ? rowsOf(json) : /csv/.test(contentType) && text ? csv(text) : null;
  if (json !== undefined) ways.push(["JSON", () => preformatted(JSON.stringify(json, null, 2))]);
  if (rows) ways[/csv/.test(contentType) ? "unshift" : "push"](["Table", () => table(rows)]);
  if (text !== null) ways.push(["Text", () => preformatted(text)]);
  ways.push(["Hex", () => preformatted(hex(bytes))]);
  return ways;
}

function preformatted(text) {
  const shown = text.length > MOST_LETTERS ? `${text.slice(0, MOST_LETTERS)}\n... and ${text.length - MOST_LETTERS} more` : text;
  return element("pre", { class: "answer", tabindex: "0", "aria-label": "The answer" }, shown);
}

function asText(bytes) {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    return null;
  }
}

function asJson(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** The picture on a canvas: it is decoded, and nothing is loaded. */
async function imageOf(bytes, contentType) {
  try {
    const picture = await createImageBitmap(new Blob([bytes], { type: contentType }));
    const canvas = element("canvas", { class: "answer", role: "img", "aria-label": `An image of ${picture.width} by ${picture.height} pixels` });
    [canvas.width, canvas.height] = [picture.width, picture.height];
    canvas.getContext("2d").drawImage(picture, 0, 0);
    return canvas;
  } catch {
    return null;
  }
}

/** Rows of a table for an array, or for an object whose only array it is; null if there is none. */
function rowsOf(json) {
  const arrays = Array.isArray(json) ? [json] : Object.values(json ?? {}).filter(Array.isArray);
  if (arrays.length !== 1 || !arrays[0].length) return null;
  const isObject = (each) => each !== null && typeof each === "object" && !Array.isArray(each);
  if (!arrays[0].every(isObject)) return arrays[0].map((each) => [each].flat().map(cellOf));
  const names = [...new Set(arrays[0].flatMap(Object.keys))];
  return [names, ...arrays[0].map((each) => names.map((name) => cellOf(each[name])))];
}

function cellOf(value) {
  return typeof value === "string" ? value : JSON.stringify(value) ?? "";
}

/** [RFC 4180] */
function csv(text) {
  const rows = [[]];
  for (const [, quoted, bare, end] of text.matchAll(/(?:"((?:[^"]|"")*)"|([^,\r\n]*))(,|\r?\n|$)/g)) {
    rows.at(-1).push(quoted === undefined ? bare : quoted.replaceAll('""', '"'));
    if (end === "") break;
    if (end !== ",") rows.push([]);
  }
  const last = rows.at(-1);
  if (last.length === 1 && last[0] === "") rows.pop();
  return rows.length ? rows : null;
}

function table(rows) {
  const lines = rows.slice(0, MOST_ROWS).map((row) => element("tr", {}, row.map((value) => element("td", {}, value))));
  if (rows.length > MOST_ROWS) lines.push(element("tr", {}, element("td", { colspan: rows[0].length || 1 }, `and ${rows.length - MOST_ROWS} more`)));
  return element("div", { class: "answer", tabindex: "0", role: "region", "aria-label": "The answer" }, element("table", {}, element("tbody", {}, lines)));
}

function hex(bytes) {
  const lines = [];
  for (let at = 0; at < Math.min(bytes.length, MOST_BYTES_OF_HEX); at += 16) {
    const part = [...bytes.subarray(at, at + 16)];
    const digits = part.map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
    const letters = part.map((byte) => (byte >= 32 && byte < 127 ? String.fromCharCode(byte) : ".")).join("");
    lines.push(`${at.toString(16).padStart(8, "0")}  ${digits.padEnd(48)} ${letters}`);
  }
  if (bytes.length > MOST_BYTES_OF_HEX) lines.push(`and ${bytes.length - MOST_BYTES_OF_HEX} bytes more`);
  return lines.join("\n");
}
