// @ts-check
// Asks the phone where it is when somebody presses the button, each time anew, and sends about where that is.

const place = document.querySelector("[data-near]");
const begin = /** @type {HTMLButtonElement | null} */ (place?.querySelector("[data-begin]") ?? null);
const DECIMALS = 3;  // of a degree: about a hundred metres

if (begin && navigator.geolocation) {
  const form = /** @type {HTMLFormElement} */ (begin.form);
  const said = /** @type {HTMLElement} */ (place?.querySelector("[data-said]"));
  const field = (/** @type {string} */ name) => /** @type {HTMLInputElement} */ (form.elements.namedItem(name));
  begin.hidden = false;
  begin.addEventListener("click", () => {
    begin.disabled = true;
    said.hidden = true;
    navigator.geolocation.getCurrentPosition(({ coords }) => {
      field("latitude").value = coords.latitude.toFixed(DECIMALS);
      field("longitude").value = coords.longitude.toFixed(DECIMALS);
      form.submit();
    }, () => {
      said.textContent = /** @type {HTMLElement} */ (place).dataset.refused ?? "";
      said.hidden = false;
      begin.disabled = false;
    }, { maximumAge: 60_000, timeout: 15_000 });
  });
}
