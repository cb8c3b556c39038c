/** What the page asks the emulator to do: with this run's token, and only after a yes where something is lost. */

import { announce } from "./dom.js";

/** Take an action. Returns its answer; throws an Error with the emulator's words. */
export async function act(store, name, members = {}) {
  const response = await fetch(`actions/${name}`, {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-Localmme-Token": store.token },
    body: JSON.stringify(members),
  });
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(answer.message ?? answer.Message ?? `The emulator answered ${response.status}.`);
  return answer;
}

/** The same for a button: asks first if there is a question, and says what came of it. Returns whether it was done. */
export async function press(store, name, members, question = "", yes = "") {
  if (question && !(await confirmed(question, yes))) return false;
  try {
    const { message } = await act(store, name, members);
    announce(message ?? "Done.");
    return true;
  } catch (error) {
    announce(error.message, true);
    return false;
  }
}

function confirmed(question, yes) {
  const dialog = document.getElementById("confirmation");
  document.getElementById("confirmation-question").textContent = question;
  document.getElementById("confirmation-yes").textContent = yes;
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}
