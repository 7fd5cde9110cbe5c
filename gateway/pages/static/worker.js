// @ts-check
// Answers for the card's page, or the till's, where there is no network. It keeps the page without anybody's data, and what
// it loads; the card itself, and the sales that wait, are kept by the page.

const KIND = "KIND-";
const NAME = KIND + "DIGEST";
const HOME = "HOME";
const PAGE = HOME + "/offline";
const FILES = ["FILES"];
const self_ = /** @type {any} */ (self);

self_.addEventListener("install", (/** @type {any} */ event) => {
  event.waitUntil(caches.open(NAME).then((cache) => cache.addAll([PAGE, ...FILES])).then(() => self_.skipWaiting()));
});

self_.addEventListener("activate", (/** @type {any} */ event) => {
  const old = (/** @type {string[]} */ names) => Promise.all(names.filter((name) => name.startsWith(KIND) && name !== NAME).map((name) => caches.delete(name)));
  event.waitUntil(caches.keys().then(old).then(() => self_.clients.claim()));
});

self_.addEventListener("fetch", (/** @type {any} */ event) => {
  const request = event.request;
  const path = new URL(request.url).pathname;
  if (request.mode === "navigate" && (path === HOME || path.startsWith(HOME + "/"))) {
    event.respondWith(fetch(request).catch(() => caches.match(PAGE)));
  } else if (FILES.includes(path)) {
    event.respondWith(caches.match(path).then((found) => found ?? fetch(request)));
  }
});
