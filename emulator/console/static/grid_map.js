/** All rows of the grid at once, beside it: a column for each instance, a line or less for each model. */

import { rgb } from "./colours.js";
import { element } from "./dom.js";
import { placeOf, PLACES } from "./places.js";

const COLUMN_PX = 5;
const LEAST_PX = 24; // wide
const RANK = new Map(Object.keys(PLACES).map((place, rank) => [place, rank]));

/** For the mouse only: the table says the same, row by row. */
export class GridMap {
  constructor(scrollTo) {
    this._rows = 0;
    this._canvas = element("canvas", {});
    this._mark = element("div", { class: "in-sight" });
    this.element = element("div", { class: "map", "aria-hidden": "true" }, this._canvas, this._mark);
    this.element.addEventListener("click", (event) => {
      const share = (event.clientY - this.element.getBoundingClientRect().top) / this.element.clientHeight;
      scrollTo(Math.floor(share * this._rows));
    });
  }

  show(rows, instances, inSight) {
    this._rows = rows.length;
    this.element.hidden = inSight[1] - inSight[0] > rows.length;
    if (this.element.hidden) return;
    const height = Math.min(rows.length, this.element.clientHeight) || 1;
    this._canvas.width = Math.max(1, instances.length);
    this._canvas.height = height;
    const width = Math.max(LEAST_PX, instances.length * COLUMN_PX);
    this.element.style.setProperty("width", `${width}px`);
    const colours = Object.keys(PLACES).map((place) => rgb(`--place-${place.replaceAll("_", "-")}`));
    const context = this._canvas.getContext("2d");
    const picture = context.createImageData(this._canvas.width, height);
    const ranks = new Uint8Array(this._canvas.width * height);
    rows.forEach((row, index) => {
      if (row.folder) return;
      const line = Math.floor((index * height) / rows.length) * this._canvas.width;
      for (let column = 0; column < instances.length; column++) {
        const rank = RANK.get(placeOf(row, instances[column])) ?? 0;
        if (rank > ranks[line + column]) ranks[line + column] = rank;
      }
    });
    ranks.forEach((rank, position) => {
      picture.data.set(colours[rank], position * 4);
      picture.data[position * 4 + 3] = 255;
    });
    context.putImageData(picture, 0, 0);
    this.mark(inSight);
  }

  mark([first, last]) {
    const height = this.element.clientHeight;
    const of = (row) => (this._rows ? (Math.min(row, this._rows) / this._rows) * height : 0);
    this._mark.style.setProperty("top", `${of(first)}px`);
    this._mark.style.setProperty("height", `${Math.max(3, of(last) - of(first))}px`);
  }
}
