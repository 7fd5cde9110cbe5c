// @ts-check
// Reads a till's code with the phone's camera. Only an address of this very page is followed, and of it only the code.

const place = /** @type {HTMLElement} */ (document.querySelector("[data-scan]"));
const begin = /** @type {HTMLButtonElement} */ (place.querySelector("[data-begin]"));
const video = /** @type {HTMLVideoElement} */ (place.querySelector("[data-video]"));
const said = /** @type {HTMLElement} */ (place.querySelector("[data-said]"));

/** @param {string | undefined} text */
function say(text) {
  said.textContent = text ?? "";
  said.hidden = !text;
}

/** The code inside a till's link, or null for anything else. @param {string} text */
function code(text) {
  if (!URL.canParse(text)) return null;
  const link = new URL(text);
  return link.origin === location.origin && link.pathname === location.pathname ? link.searchParams.get("code") : null;
}

async function look() {
  begin.disabled = true;
  video.hidden = false;
  say("");
  let text = null;
  try {
    const { scan } = await import("./camera.mjs");
    text = await scan(video, new AbortController().signal);
  } catch {
    say(place.dataset.noCamera);
  }
  video.hidden = true;
  begin.disabled = false;
  if (!text) return;
  const found = code(text);
  if (found) location.assign(`${location.pathname}?${new URLSearchParams({ code: found })}`);
  else say(place.dataset.foreign);
}

begin.hidden = false;
begin.addEventListener("click", look);
