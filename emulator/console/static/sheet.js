/** The sheet at the page's side, with all that is known of one thing: a model, an instance, a call. */

const dialog = document.getElementById("sheet");
let shown = null;

/** Show something: {title, element, update(changed)}; `update` is called while it is shown. */
export function openSheet(sheet) {
  document.getElementById("sheet-title").textContent = sheet.title;
  document.getElementById("sheet-content").replaceChildren(sheet.element);
  shown = sheet;
  sheet.update(new Set(["endpoints", "models", "events", "calls", "logs"]));
  if (!dialog.open) dialog.showModal();
  dialog.scrollTop = 0;
}

export function closeSheet() {
  dialog.close();
}

export function updateSheet(changed) {
  if (dialog.open) shown?.update(changed);
}

dialog.addEventListener("close", () => {
  shown = null;
  document.getElementById("sheet-content").replaceChildren();
});
// A click beside it.
dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
document.getElementById("sheet-close").addEventListener("click", closeSheet);
