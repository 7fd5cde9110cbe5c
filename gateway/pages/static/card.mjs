// @ts-check
// The card: keeps what a rotating code is made from on this device, and shows a code every 30 seconds, with a network or
// without. The secret is kept as a key that no script can read back, and goes when the browser is signed out.

import { generate } from "./lean-qr.mjs";

/** @typedef {{ member: string, id: string, number: string, ref: string, key: CryptoKey, seconds: number, offset: number,
 *    tier: string, available: string, pending: string, seen: string }} Kept */

const page = /** @type {HTMLElement} */ (document.querySelector("[data-card-page]"));
const isOffline = page.dataset.isOffline === "yes";
const language = document.documentElement.lang;
const documents = JSON.parse(document.querySelector("script[data-documents]")?.textContent ?? "{}");

/** @param {string} name @returns {HTMLElement | null} */
const part = (name) => page.querySelector(`[data-${name}]`);

// --- What is kept -----------------------------------------------------------------------------------------------

/** @template T @param {IDBRequest<T>} request @returns {Promise<T>} */
const done = (request) => new Promise((resolve, reject) => {
  request.onsuccess = () => resolve(request.result);
  request.onerror = () => reject(request.error);
});

async function store(/** @type {IDBTransactionMode} */ mode) {
  const opening = indexedDB.open("card", 1);
  opening.onupgradeneeded = () => opening.result.createObjectStore("card");
  return (await done(opening)).transaction("card", mode).objectStore("card");
}

/** @returns {Promise<Kept | undefined>} */
const kept = async () => done((await store("readonly")).get("card"));
const keep = async (/** @type {Kept} */ card) => done((await store("readwrite")).put(card, "card"));
const drop = async () => done((await store("readwrite")).delete("card"));

// --- The code ---------------------------------------------------------------------------------------------------

/** The eight digits of a step: RFC 6238 with SHA-256. @param {CryptoKey} key @param {number} step */
async function digits(key, step) {
  const message = new DataView(new ArrayBuffer(8));
  message.setBigUint64(0, BigInt(step));
  const digest = new DataView(await crypto.subtle.sign("HMAC", key, message.buffer));
  const number = digest.getUint32(digest.getUint8(31) & 15) & 0x7fffffff;
  return String(number % 1e8).padStart(8, "0");
}

/** @param {Kept} card */
async function show(card) {
  const seconds = (Date.now() + card.offset) / 1000 / card.seconds;
  const step = Math.floor(seconds);
  const shown = await digits(card.key, step);
  const code = `L1.${card.ref}.${step}.${shown}`;
  const frame = /** @type {HTMLElement} */ (part("qr"));
  const canvas = /** @type {HTMLCanvasElement} */ (frame.querySelector("canvas"));
  generate(code).toCanvas(canvas, { on: [0, 0, 0], off: [255, 255, 255], pad: 2 });
  frame.hidden = false;
  frame.setAttribute("aria-label", (frame.dataset.label ?? "") + card.number.replace(/(\d{4})(?=\d)/g, "$1 "));
  frame.dataset.code = code;
  const line = /** @type {HTMLElement} */ (part("digits"));
  line.textContent = shown.replace(/(\d{4})(\d{4})/, "$1 $2");
  line.hidden = false;
  /** @type {HTMLElement} */ (part("hint")).hidden = false;
  const life = /** @type {HTMLElement} */ (part("life"));
  life.hidden = false;
  life.dataset.part = String(Math.floor((seconds - step) * 10));
}

/** @param {Kept} card */
function begin(card) {
  const number = part("number");
  if (number) number.textContent = card.number.replace(/(\d{4})(?=\d)/g, "$1\u00a0");
  const line = part("number-line");
  if (line) line.hidden = false;
  const ask = part("ask");
  if (ask) ask.hidden = true;
  let shown = -1;
  const tick = async () => {
    const tenth = Math.floor((Date.now() + card.offset) / 1000 / card.seconds * 10);
    if (tenth === shown) return;
    const isNewStep = shown >= 0 && Math.floor(tenth / 10) !== Math.floor(shown / 10);
    shown = tenth;
    await show(card);
    if (isNewStep && !isOffline && navigator.onLine) await lookAtClock(card);
  };
  setInterval(tick, 500);
  return tick();
}

// --- Asking the gateway -----------------------------------------------------------------------------------------

/** @param {string} name @param {object} variables @param {string} [accept] */
const ask = (name, variables, accept = "application/json") => fetch("/session/graphql", {
  method: "POST",
  credentials: "same-origin",
  headers: {
    "Content-Type": "application/json", "Accept": accept, "Accept-Language": language,
    "X-CSRF-Token": page.dataset.csrf ?? "",
  },
  body: JSON.stringify({ query: documents[name], variables }),
});

/** The gateway's clock, not the phone's, says which code is due. @param {Kept} card */
async function lookAtClock(card) {
  try {
    const answer = await (await ask("Clock", {})).json();
    const balance = answer.data?.viewer?.balance;
    if (!balance) return;
    card.offset = Date.parse(balance.asOf) - Date.now();
    await seen(card, balance);
  } catch { /* the next step asks again */ }
}

/** @param {Kept} card @param {{ asOf: string, available: string, pending: string }} balance */
async function seen(card, balance) {
  Object.assign(card, { available: balance.available, pending: balance.pending, seen: balance.asOf });
  await keep(card);
}

/** @param {string} text */
function bytes(text) {
  const binary = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
  return Uint8Array.from(binary, (sign) => sign.charCodeAt(0));
}

async function put() {
  const button = /** @type {HTMLButtonElement} */ (part("put"));
  const problem = /** @type {HTMLElement} */ (part("put-problem"));
  button.disabled = true;
  problem.hidden = true;
  try {
    const answer = await (await ask("PutCardOnDevice", { input: { idempotencyKey: page.dataset.key } })).json();
    const told = answer.data?.putCardOnDevice;
    if (told?.code === "STEP_UP_REQUIRED") return location.assign("/confirm?next=%2Fapp");
    if (told?.code === "CARDS_TOO_MANY") throw new Error(page.dataset.tooMany);
    if (!told?.card) throw new Error(page.dataset.problem);
    const { id, number, codeRef, codeSecret, stepSeconds, at } = told.card;
    const key = await crypto.subtle.importKey(
      "raw", bytes(codeSecret), { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
    const card = {
      member: page.dataset.member ?? "", id, number, ref: codeRef, key, seconds: stepSeconds,
      offset: Date.parse(at) - Date.now(), tier: page.dataset.tier ?? "",
      available: page.dataset.available ?? "0", pending: page.dataset.pending ?? "0", seen: at,
    };
    await keep(card);
    await begin(card);
    void listen(card);
  } catch (error) {
    problem.textContent = error instanceof Error ? error.message : "";
    problem.hidden = false;
    button.disabled = false;
  }
}

// --- The moment of accrual --------------------------------------------------------------------------------------

/** @param {{ available: string, pending: string }} balance */
function showBalance(balance) {
  const format = new Intl.NumberFormat(language);
  for (const name of /** @type {const} */ (["available", "pending"])) {
    const place = page.querySelector(`[data-show=${name}]`);
    if (place) place.textContent = format.format(BigInt(balance[name]));
  }
}

/** @param {Kept | undefined} card */
async function arrived(card) {
  const answer = await (await ask("LatestEntry", {})).json();
  const viewer = answer.data?.viewer;
  if (!viewer) return;
  showBalance(viewer.balance);
  if (card) await seen(card, viewer.balance);
  const entry = viewer.own.entries.nodes[0];
  if (!entry || entry.change === "0") return;
  const words = /** @type {HTMLTemplateElement} */ (page.querySelector("[data-toast-words]"));
  const made = /** @type {HTMLElement} */ (words.content.cloneNode(true));
  const change = new Intl.NumberFormat(language, { signDisplay: "always" }).format(BigInt(entry.change));
  /** @type {HTMLElement} */ (made.querySelector("[data-change]")).textContent = change;
  /** @type {HTMLElement} */ (made.querySelector("[data-where]")).textContent = entry.partner?.name ?? "";
  const list = /** @type {HTMLElement} */ (made.querySelector("[data-reasons]"));
  for (const reason of entry.transaction?.reasons ?? []) {
    const line = document.createElement("li");
    line.textContent = reason.text;
    list.append(line);
  }
  const place = /** @type {HTMLElement} */ (part("toast"));
  place.replaceChildren(made);
}

/** @param {Kept | undefined} card */
async function listen(card) {
  if (!documents.BalanceChanged) return;
  let isFirst = true;
  for (let wait = 1; wait < 64; wait *= 2) {
    try {
      const answer = await ask("BalanceChanged", { member: page.dataset.member }, "text/event-stream");
      if (!answer.ok || !answer.body) return;
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      let text = "";
      for (;;) {
        const { value, done: isOver } = await reader.read();
        if (isOver) break;
        text += value;
        const events = text.split("\n\n");
        text = events.pop() ?? "";
        for (const event of events) {
          if (!event.startsWith("event: next") || event.includes('"errors"')) continue;
          page.dataset.isListening = "yes";
          if (!isFirst) await arrived(card);
          isFirst = false;
        }
      }
    } catch { /* away; asked again below */ }
    await new Promise((resolve) => setTimeout(resolve, wait * 1000));
  }
}

// --- At last ----------------------------------------------------------------------------------------------------

async function online() {
  let card = await kept();
  const active = (page.dataset.cards ?? "").split(" ");
  if (card && (card.member !== page.dataset.member || !active.includes(card.id))) {
    await drop();
    card = undefined;
  }
  if (card) {
    card.offset = Date.parse(page.dataset.at ?? "") - Date.now();
    card.tier = page.dataset.tier ?? "";
    await seen(card, {
      asOf: page.dataset.at ?? "", available: page.dataset.available ?? "0", pending: page.dataset.pending ?? "0",
    });
    await begin(card);
    void listen(card);
  } else {
    /** @type {HTMLElement} */ (part("ask")).hidden = false;
    part("put")?.addEventListener("click", put);
    if (page.dataset.fresh === "yes") await put();
    else void listen(undefined);
  }
  await keepPage();
}

async function keepPage() {
  if (!navigator.serviceWorker) return;
  const address = page.dataset.worker ?? "";
  const trusted = /** @type {any} */ (window).trustedTypes?.createPolicy("worker", { createScriptURL: () => address });
  await navigator.serviceWorker.register(trusted ? trusted.createScriptURL("") : address, { scope: "/app" });
  await navigator.serviceWorker.ready;
  const name = (await caches.keys()).find((each) => each.startsWith("card-"));
  if (name) await (await caches.open(name)).put("/app/offline", await fetch(`/app/offline?language=${language}`));
  page.dataset.isKept = "yes";
}

async function offline() {
  const card = await kept();
  if (!card) {
    /** @type {HTMLElement} */ (part("nothing")).hidden = false;
    return;
  }
  const tier = part("tier");
  if (tier) tier.textContent = card.tier;
  /** @type {HTMLElement} */ (part("sum")).hidden = false;
  showBalance(card);
  const when = new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "short" });
  /** @type {HTMLElement} */ (part("seen")).textContent = when.format(new Date(card.seen));
  await begin(card);
}

document.querySelectorAll("[data-without-script]").forEach((each) => /** @type {HTMLElement} */ (each).hidden = true);
const sign = part("offline");
if (sign) {
  const look = () => { sign.hidden = navigator.onLine; };
  addEventListener("online", look);
  addEventListener("offline", look);
}
await (isOffline ? offline() : online());
