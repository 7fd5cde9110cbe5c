// @ts-check
// Tells the form that signs out which card this device holds, so that the card ends with the session.

const place = /** @type {HTMLInputElement | null} */ (document.querySelector("[data-own-card]"));
const opening = indexedDB.open("card", 1);
opening.onupgradeneeded = () => opening.result.createObjectStore("card");
opening.onsuccess = () => {
  const asked = opening.result.transaction("card", "readonly").objectStore("card").get("card");
  asked.onsuccess = () => { if (place && asked.result) place.value = asked.result.id; };
};
