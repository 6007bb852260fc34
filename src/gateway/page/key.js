// The API key: asked for when the service wants one, kept for this tab alone.
import { button, byId, input } from "./element.js";

const NAME = "api-key";

export const currentKey = () => sessionStorage.getItem(NAME);

export function forgetKey() {
  sessionStorage.removeItem(NAME);
}

/** @type {Promise<void> | undefined} */
let asking;

/**
 * Asks for a key; those who ask meanwhile wait for the same answer.
 * @param {string | null} refused the key that was not taken, if one was sent
 * @throws when none is given
 */
export function askForKey(refused) {
  if (currentKey() !== refused) return Promise.resolve(); // another call has been given one meanwhile
  asking ??= ask(refused !== null).finally(() => {
    asking = undefined;
  });
  return asking;
}

/** @param {boolean} wrong */
async function ask(wrong) {
  const dialog = byId("key-dialog", HTMLDialogElement);
  const field = input("key");
  if (wrong) byId("key-said").textContent = "The service does not know this key. Another one?";
  field.value = "";
  dialog.returnValue = "cancel";
  dialog.showModal();
  field.focus();
  await new Promise((resolve) => dialog.addEventListener("close", resolve, { once: true }));
  const key = field.value.trim();
  field.value = "";
  if (dialog.returnValue !== "use" || key === "") {
    throw new Error("The service asks for an API key; without one it shows and makes nothing.");
  }
  sessionStorage.setItem(NAME, key);
  button("forget-key").hidden = false;
}
