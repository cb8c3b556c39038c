/** All rows of the grid at once, beside it: a column for each instance, a line or less for each model. */

import { rgb } from "./colours.js";
import { element } from "./dom.js";
import { PLACES } from "./places.js";

const COLUMN_PX = 5;
const LEAST_PX = 24; // wide
const PAUSE_MS = 500; // before it is painted anew
const RANK = new Map(Object.keys(PLACES).map((place, rank) => [place, rank]));

/** For the mouse only: the table says the same, row by row. */
export class GridMap {
  constructor(scrollTo) {
    this._rows = 0;
    this._painting = null;
    this._canvas = element("canvas", {});
    this._mark = element("div", { class: "in-sight" });
    this.element = element("div", { class: "map", "aria-hidden": "true" }, this._canvas, this._mark);
    this.element.addEventListener("click", (event) => {
      const share = (event.clientY - this.element.getBoundingClientRect().top) / this.element.clientHeight;
      scrollTo(Math.floor(share * this._rows));
    });
  }

  /** Show these rows: in a task of its own, and not at each update, as it looks at all of them. */
  show(rows, instances, inSight) {
    this._rows = rows.length;
    this.element.hidden = inSight[1] - inSight[0] > rows.length;
    this._shown = { rows, instances };
    this._inSight = inSight;
    this._painting ??= setTimeout(() => {
      this._painting = null;
      if (!this.element.hidden && this.element.isConnected) this._paint(this._shown);
    }, PAUSE_MS);
  }

  _paint({ rows, instances }) {
    const width = Math.max(1, instances.length);
    const height = Math.min(rows.length, this.element.clientHeight) || 1;
    this.element.style.setProperty("width", `${Math.max(LEAST_PX, instances.length * COLUMN_PX)}px`);
    [this._canvas.width, this._canvas.height] = [width, height];
    const columns = new Map(instances.map(({ key }, column) => [key, column]));
    const ranks = new Uint8Array(width * height);
    rows.forEach(({ locations = {} }, index) => {
      const line = Math.floor((index * height) / rows.length) * width;
      for (const key in locations) {
        const place = line + columns.get(key);
        ranks[place] = Math.max(ranks[place], RANK.get(locations[key]) ?? 0);
      }
    });
    const colours = Object.keys(PLACES).map((place) => rgb(`--place-${place.replaceAll("_", "-")}`));
    const context = this._canvas.getContext("2d");
    const picture = context.createImageData(width, height);
    ranks.forEach((rank, position) => {
      picture.data.set(colours[rank], position * 4);
      picture.data[position * 4 + 3] = 255;
    });
    context.putImageData(picture, 0, 0);
    this.mark(this._inSight);
  }

  mark(inSight) {
    this._inSight = inSight;
    const [first, last] = inSight;
    const height = this.element.clientHeight;
    const of = (row) => (this._rows ? (Math.min(row, this._rows) / this._rows) * height : 0);
    this._mark.style.setProperty("top", `${of(first)}px`);
    this._mark.style.setProperty("height", `${Math.max(3, of(last) - of(first))}px`);
  }
}
