/** A table of any number of rows, of which only those in sight are in the document. A grid to keyboard and screen readers. */

import { element, setText } from "./dom.js";

const ROW_PX = 28; // a line of text
const SPARE_ROWS = 3; // above and below what is in sight

let tables = 0;

/**
 * A column is {id, label, width, sort, fill}: `fill(cell, row)` writes a cell of the table; `sort` = its header is a
 * button; `hint` = the header's title. A row is any object with a `key` of its own.
 */
export class VirtualTable {
  /** `opened(row, column)` is called for a click on a row and for Enter; `sorted(id)` for one on a header. */
  constructor({ label, className = "", rowPx = ROW_PX, opened = null, sorted = null }) {
    this._rowPx = rowPx;
    this._opened = opened;
    this._sorted = sorted;
    this._rows = [];
    this._columns = [];
    this._pool = [];
    this._active = { key: null, column: 0 };
    // Asked for only when they change: each question makes the browser lay out the page at once.
    this._top = 0;
    this._height = 0;
    this._id = `table-${++tables}`;
    this._colgroup = element("colgroup");
    this._head = element("tr", { "aria-rowindex": "1" });
    this._above = element("tr", { class: "spacer", "aria-hidden": "true" }, element("td"));
    this._below = element("tr", { class: "spacer", "aria-hidden": "true" }, element("td"));
    this._body = element("tbody", {}, this._above, this._below);
    this._table = element(
      "table",
      { role: "grid", tabindex: "0", "aria-label": label, keydown: (event) => this._pressed(event), focus: () => this._focused() },
      this._colgroup,
      element("thead", {}, this._head),
      this._body,
    );
    this._empty = element("p", { class: "empty", hidden: true });
    this.scroller = element("div", { class: `scroller ${className}`, scroll: () => this._moved() }, this._table);
    this.scroller.style.setProperty("--row", `${rowPx}px`);
    this.element = element("div", { class: "virtual" }, this.scroller, this._empty);
    this._body.addEventListener("click", (event) => this._clicked(event));
    new ResizeObserver(() => this._moved()).observe(this.scroller);
  }

  /** `order` is {id, descending} of the column that the rows are sorted by. */
  setColumns(columns, order = {}) {
    const focused = [...this._head.children].findIndex((header) => header.contains(document.activeElement));
    this._columns = columns;
    this._colgroup.replaceChildren(
      ...columns.map(({ width, className }) => {
        const col = element("col", { class: className });
        if (width) col.style.setProperty("width", width);
        return col;
      }),
    );
    this._head.replaceChildren(...columns.map((column) => this._header(column, order)));
    this._head.children[focused]?.querySelector("button")?.focus();
    for (const { line } of this._pool) line.remove();
    this._pool = [];
    this._draw();
  }

  _header(column, order) {
    const direction = order.id === column.id ? (order.descending ? "descending" : "ascending") : null;
    const label = column.sort
      ? element("button", { type: "button", click: () => this._sorted(column.id) }, column.label)
      : element("span", { class: column.label ? null : "unseen" }, column.label || column.hint);
    return element("th", { scope: "col", class: column.className, title: column.hint, "aria-sort": direction }, label);
  }

  /** Show these rows. With `keepInSight`, rows that come in at the top do not move what is being read. */
  setRows(rows, { keepInSight = false, empty = "Nothing to show." } = {}) {
    const top = Math.floor(this._top / this._rowPx);
    const read = keepInSight && top > 0 ? this._rows[top]?.key : undefined;
    this._rows = rows;
    this._table.setAttribute("aria-rowcount", rows.length + 1);
    this._empty.hidden = rows.length > 0;
    setText(this._empty, empty);
    if (read !== undefined) {
      const now = rows.findIndex((row) => row.key === read);
      if (now > top) {
        this._spaceOut(now, now); // so that there is something to scroll to
        this._scrollTo(this._top + (now - top) * this._rowPx);
      }
    }
    this._draw();
  }

  scrollToRow(index) {
    this._scrollTo(index * this._rowPx - this._height / 2);
    this._draw();
  }

  /** The first and the last row in sight. */
  get inSight() {
    const first = Math.floor(this._top / this._rowPx);
    return [first, first + Math.ceil(this._height / this._rowPx)];
  }

  _scrollTo(px) {
    this.scroller.scrollTop = px;
    this._top = this.scroller.scrollTop;
  }

  _moved() {
    this._top = this.scroller.scrollTop;
    this._height = this.scroller.clientHeight;
    this._draw();
  }

  _draw() {
    const [top, bottom] = this.inSight;
    const first = Math.max(0, Math.min(top - SPARE_ROWS, this._rows.length));
    const last = Math.min(this._rows.length, bottom + SPARE_ROWS);
    while (this._pool.length < last - first) this._pool.push(this._newLine());
    this._spaceOut(first, last);
    this._pool.forEach(({ line, cells }, position) => {
      const row = first + position < last ? this._rows[first + position] : null;
      line.hidden = row === null;
      if (row) this._fill(line, cells, row, first + position);
    });
  }

  _spaceOut(first, last) {
    this._above.firstChild.style.setProperty("height", `${first * this._rowPx}px`);
    this._below.firstChild.style.setProperty("height", `${Math.max(0, this._rows.length - last) * this._rowPx}px`);
    this._above.hidden = first === 0;
    this._below.hidden = last >= this._rows.length;
  }

  _newLine() {
    const cells = this._columns.map(({ className }) => element("td", { role: "gridcell", class: className }));
    const line = element("tr", {}, cells);
    this._body.insertBefore(line, this._below);
    return { line, cells };
  }

  _fill(line, cells, row, index) {
    line.setAttribute("aria-rowindex", index + 2);
    line.dataset.index = index;
    line.className = row.className ?? "";
    const active = row.key === this._active.key;
    this._columns.forEach((column, position) => {
      const cell = cells[position];
      column.fill(cell, row);
      const isActive = active && position === this._active.column;
      if (isActive !== (cell.id !== "")) cell.id = isActive ? `${this._id}-active` : "";
      cell.classList.toggle("active", isActive);
    });
    line.classList.toggle("active", active);
  }

  // The active cell

  _focused() {
    if (this._active.key === null && this._rows.length) this._activate(this.inSight[0], 0);
  }

  _clicked(event) {
    const line = event.target.closest("tr");
    const cell = event.target.closest("td");
    if (!line?.dataset.index) return;
    const column = [...line.children].indexOf(cell);
    this._activate(Number(line.dataset.index), column);
    this._open();
  }

  _pressed(event) {
    if (event.target !== this._table || event.ctrlKey || event.metaKey || event.altKey) return;
    const index = this._rows.findIndex((row) => row.key === this._active.key);
    const page = Math.max(1, this.inSight[1] - this.inSight[0] - 2);
    const { column } = this._active;
    const moves = {
      ArrowDown: [index + 1, column],
      ArrowUp: [index - 1, column],
      PageDown: [index + page, column],
      PageUp: [index - page, column],
      ArrowRight: [index, column + 1],
      ArrowLeft: [index, column - 1],
      Home: [0, column],
      End: [this._rows.length - 1, column],
    };
    if (event.key === "Enter" || event.key === " ") this._open();
    else if (moves[event.key]) this._activate(...moves[event.key]);
    else return;
    event.preventDefault();
  }

  _activate(index, column) {
    if (!this._rows.length) return;
    const row = Math.max(0, Math.min(index, this._rows.length - 1));
    this._active = { key: this._rows[row].key, column: Math.max(0, Math.min(column, this._columns.length - 1)) };
    const [top, height] = [row * this._rowPx, this._height - 2 * this._rowPx]; // the header covers a row
    if (top < this._top) this._scrollTo(top);
    else if (top > this._top + height) this._scrollTo(top - height);
    this._draw();
    this._table.setAttribute("aria-activedescendant", `${this._id}-active`);
  }

  _open() {
    const row = this._rows.find((each) => each.key === this._active.key);
    if (row && this._opened) this._opened(row, this._columns[this._active.column]);
  }
}

/** A `fill` that shows a text. */
export function text(of, { title = false } = {}) {
  return (cell, row) => {
    const shown = String(of(row) ?? "");
    setText(cell, shown);
    if (title && cell.title !== shown) cell.title = shown;
  };
}
