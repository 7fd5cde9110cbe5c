// @ts-check
// A form is sent once: the answer to a second click would take the place of the first one's, and with it what is shown
// only there. Where no script runs, the key in the form keeps it from being done twice.

const PATIENCE_MILLISECONDS = 30_000;

/** @type {WeakMap<EventTarget, number>} */
let sent = new WeakMap();

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (event.defaultPrevented || !(form instanceof HTMLFormElement) || form.method !== "post") {
    return;
  }
  const last = sent.get(form);
  if (last !== undefined && event.timeStamp - last < PATIENCE_MILLISECONDS) {
    event.preventDefault();
    return;
  }
  sent.set(form, event.timeStamp);
});

addEventListener("pageshow", (event) => {
  if (event.persisted) {
    sent = new WeakMap();
  }
});
