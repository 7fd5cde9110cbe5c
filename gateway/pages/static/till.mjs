// @ts-check
// The till: one field that always has the focus, and what stands in it depends on how far a sale is. Every sale has a key of
// its own from the moment its amount is known; it is sent with it however often. Without a network a sale earns only, is kept
// in this browser, and is sent with its key when the network is back.

const place = /** @type {HTMLElement} */ (document.querySelector("[data-till]"));
const read = (/** @type {string} */ name) => JSON.parse(document.querySelector(`script[data-${name}]`)?.textContent ?? "{}");
const documents = read("documents");
const words = read("words");
const KEPT = "till-kept";
const isOffline = place.dataset.offline === "yes";
// Where the page came without a network, it knows its partner and places from when it was last here with one.
const kept = isOffline ? JSON.parse(localStorage.getItem(KEPT) ?? "null") : null;
if (kept) Object.assign(place.dataset, kept.told);
const places = kept?.places ?? read("all-places");
const language = document.documentElement.lang;
const part = (/** @type {string} */ name) => /** @type {any} */ (document.querySelector(`[data-${name}]`));
const field = /** @type {HTMLInputElement} */ (part("field"));
// What waits is one partner's: whoever signs in for another one at this browser sends none of it.
const QUEUE = `till-queue:${place.dataset.partner}`;
const offset = kept ? kept.offset : Date.parse(place.dataset.at ?? "") - Date.now();

/** @type {any} */
let sale = {};
/** @type {any} */
let last = null;
let isBusy = false;

// --- Words and figures ------------------------------------------------------------------------------------------

const number = (/** @type {string | number} */ value) => new Intl.NumberFormat(language).format(BigInt(value));
const money = (/** @type {any} */ value) =>
  new Intl.NumberFormat(language, { style: "currency", currency: value.currencyCode }).format(value.amount);

/** @param {string} kind @param {Record<string, any>} [given] @param {any[]} [inside] */
function made(kind, given = {}, inside = []) {
  const element = document.createElement(kind);
  Object.assign(element, given);
  element.append(...inside);
  return element;
}

/** @param {string} text @param {boolean} [isGood] */
function say(text, isGood = false) {
  const said = part("said");
  said.textContent = text;
  said.classList.toggle("good", isGood);
}

/** @param {boolean} isGood */
function sound(isGood) {
  try {
    const audio = new AudioContext();
    const tone = audio.createOscillator();
    tone.frequency.value = isGood ? 880 : 220;
    tone.connect(audio.destination);
    tone.start();
    tone.stop(audio.currentTime + (isGood ? 0.08 : 0.3));
    tone.onended = () => audio.close();
  } catch { /* a till without a loudspeaker */ }
}

/** @param {[string, string, boolean?][]} told */
const figures = (told) => made("dl", { className: "figures" }, told.map(([name, value, isStrong]) =>
  made("div", { className: isStrong ? "strong" : "" }, [made("dt", { textContent: name }), made("dd", { textContent: value })])));

// --- Asking -----------------------------------------------------------------------------------------------------

class Away extends Error {}
class Refused extends Error {}

/** @param {string} name @param {object} variables @returns {Promise<any>} */
async function ask(name, variables) {
  if (isOffline) throw new Away(words.away);
  let answer;
  try {
    answer = await fetch("/portal/session/graphql", {
      method: "POST",
      credentials: "same-origin",
      headers: {
        "Content-Type": "application/json", "Accept": "application/json", "Accept-Language": language,
        "X-CSRF-Token": place.dataset.csrf ?? "",
      },
      body: JSON.stringify({ query: documents[name], variables }),
    });
  } catch {
    throw new Away(words.away);
  }
  if (answer.status === 401 || answer.status === 403) throw new Refused(words.signIn);
  if (answer.status >= 500) throw new Refused(words.failed);
  const body = await answer.json();
  if (body.errors) {
    const told = body.errors[0];
    throw new Refused(`${told.message} (${told.extensions?.requestId ?? ""})`);
  }
  return Object.values(body.data)[0];
}

// --- What is sold -----------------------------------------------------------------------------------------------

const here = () => places[Number(part("places").value)];
const now = () => new Date(Date.now() + offset);
const today = () => new Intl.DateTimeFormat("sv-SE", { timeZone: place.dataset.zone }).format(now());

/** @param {string} text */
function amount(text) {
  const plain = text.replace(/[\s\u00a0]/g, "").replace(",", ".");
  return /^\d{1,9}(\.\d{1,2})?$/.test(plain) ? plain : null;
}

/** A day as it is written at a till, or as computers do. @param {string} text */
function day(text) {
  const [, first, month, last] = /^(\d{1,2})[./](\d{1,2})[./](\d{4})$/.exec(text) ?? [];
  const plain = first ? `${last}-${month.padStart(2, "0")}-${first.padStart(2, "0")}` : text;
  return /^\d{4}-\d{2}-\d{2}$/.test(plain) && !Number.isNaN(Date.parse(plain)) ? plain : null;
}

/** @param {string} total @param {object} [more] */
const receipt = (total, more = {}) => ({
  reference: sale.reference, outlet: here().outlet, terminal: here().terminal, businessDate: today(),
  occurredAt: now().toISOString(), currencyCode: place.dataset.currency, total, ...more,
});

/** @param {string} text */
function named(text) {
  const digits = text.replace(/[\s-]/g, "");
  if (text.startsWith("L1.")) return { cardCode: text };
  if (/^\d{16}$/.test(digits)) return { cardNumber: digits };
  return { phone: digits };
}

/** @param {any} ref */
async function recognise(ref) {
  try {
    const found = await ask("TillMember", { ref, outlet: here().outlet, terminal: here().terminal });
    if (!found) throw new Refused(words.unknown);
    const mine = sale = { ref, code: ref.cardCode ?? null, visit: found.visit, found, offers: [] };
    go("amount");
    showMember();
    ask("TillOffers", { visit: found.visit, outlet: here().outlet, terminal: here().terminal }).then((offers) => {
      mine.offers = offers.nodes.filter((/** @type {any} */ each) => each.isNow && each.title);
      if (sale === mine && sale.step === "amount") showMember();
    }).catch(() => { /* a sale goes on without them */ });
  } catch (error) {
    if (!(error instanceof Away)) throw error;
    if (ref.cardCode || ref.visit) throw new Refused(words.codeOffline);
    sale = { ref, isOffline: true };
    go("amount");
    say(words.away);
  }
}

const steps = {
  async member(/** @type {string} */ text) {
    if (text) await recognise(named(text));
  },

  async amount(/** @type {string} */ text) {
    const total = amount(text);
    if (total === null) throw new Refused(words.notAmount);
    sale.total = total;
    sale.key = crypto.randomUUID();
    sale.reference = `W${crypto.randomUUID().slice(0, 13)}`;
    if (sale.isOffline) return keep();
    try {
      sale.quote = await ask("TillQuote", { input: { member: { visit: sale.visit }, receipt: receipt(total) } });
    } catch (error) {
      if (!(error instanceof Away)) throw error;
      if (sale.code) throw new Refused(words.codeOffline);
      return keep();
    }
    go("points");
    showQuote();
  },

  async points(/** @type {string} */ text) {
    const most = BigInt(sale.quote.maxRedeem.points);
    if (sale.hold || !text || text === "0") return record();
    if (!/^\d{1,15}$/.test(text) || BigInt(text) > most) throw new Refused(words.notPoints.replace("{most}", number(most.toString())));
    sale.points = text;
    if (sale.code) return record({ cardCode: sale.code });
    go("proof");
  },

  async proof(/** @type {string} */ text) {
    if (!text) return;
    const proof = text.startsWith("L1.") ? { cardCode: text } : { pin: text };
    return sale.isHolding ? hold(proof) : record(proof);
  },

  async done() {
    begin();
  },

  async receipt(/** @type {string} */ text) {
    if (!text) return;
    sale.original = { receipt: { outlet: here().outlet, terminal: here().terminal, businessDate: today(), reference: text } };
    go("day");
  },

  async day(/** @type {string} */ text) {
    const read = text ? day(text) : today();
    if (read === null) throw new Refused(words.notDay);
    sale.original.receipt.businessDate = read;
    go("part");
  },

  async part(/** @type {string} */ text) {
    const wanted = text ? amount(text) : null;
    if (text && wanted === null) throw new Refused(words.notAmount);
    sale.what = wanted === null ? { whole: true } : { amount: wanted };
    const told = await ask("TillReturnQuote", { input: { original: sale.original, what: sale.what } });
    sale.key = crypto.randomUUID();
    sale.reference = `V${crypto.randomUUID().slice(0, 13)}`;
    go("giveBack");
    part("sheet").replaceChildren(figures([
      [words.refund, money(told.refundMoney), true], [words.deduct, money(told.deductFromRefund)],
      [words.takeBack, number(told.takeBack)], [words.pointsBack, number(told.refundPoints)],
    ]));
  },

  async giveBack() {
    const told = await ask("TillReturn", { input: {
      idempotencyKey: sale.key, original: sale.original, what: sale.what, reference: sale.reference,
      outlet: here().outlet, terminal: here().terminal, businessDate: today(), occurredAt: now().toISOString(),
    } });
    finish(told, null);
  },
};

/** @param {object} [proof] */
async function record(proof) {
  const redeem = sale.hold ? { holdId: sale.hold.id } : sale.points ? { points: sale.points, proof } : null;
  const input = { idempotencyKey: sale.key, member: { visit: sale.visit }, receipt: receipt(sale.total), quoteId: sale.quote.quoteId, redeem };
  // What was sent once is sent the same again: a second Enter, or one after an answer was lost, changes nothing.
  sale.input = sale.input && !proof ? sale.input : input;
  finish(await ask("TillPurchase", { input: sale.input }), sale);
}

/** @param {object} proof */
async function hold(proof) {
  const told = await ask("TillHold", { input: {
    idempotencyKey: sale.holdKey, member: { visit: sale.visit }, outlet: here().outlet, terminal: here().terminal,
    points: sale.points, proof, reference: sale.reference,
  } });
  if (told.__typename === "Rejection") throw new Refused(told.cashierText);
  sale.hold = told.hold;
  sale.isHolding = false;
  go("points");
  showQuote();
  say(told.cashierText, true);
}

/** @param {any} told @param {any} sold */
function finish(told, sold) {
  if (told.__typename === "Rejection") {
    // Some refusals are kept under their key; what is tried next is another request.
    Object.assign(sale, { input: null, key: crypto.randomUUID() });
    throw new Refused(told.cashierText);
  }
  last = sold ? { reference: sold.reference, date: today(), place: here() } : null;
  const reference = sale.reference;
  go("done");
  say(told.cashierText, true);
  sound(true);
  part("sheet").replaceChildren(
    made("pre", { className: "slip", textContent: [...told.slipLines, `${words.receiptNumber} ${reference}`].join("\n") }));
}

// --- Without a network ------------------------------------------------------------------------------------------

/** @returns {any[]} */
const queue = () => JSON.parse(localStorage.getItem(QUEUE) ?? "[]");

/** @param {any[]} waiting */
function keepQueue(waiting) {
  localStorage.setItem(QUEUE, JSON.stringify(waiting));
  part("waiting").hidden = waiting.length === 0;
  part("waiting-count").textContent = String(waiting.length);
}

function keep() {
  const input = {
    idempotencyKey: sale.key, member: sale.ref, receipt: receipt(sale.total, { entryMode: "OFFLINE", sentAt: now().toISOString() }),
  };
  keepQueue([...queue(), input]);
  const reference = sale.reference;
  go("done");
  say(words.kept, true);
  sound(true);
  part("sheet").replaceChildren(made("pre", { className: "slip", textContent: `${words.receiptNumber} ${reference}` }));
}

let isSending = false;
async function send() {
  if (isSending || isOffline) return;
  isSending = true;
  try {
    for (let waiting = queue(); waiting.length; waiting = queue()) {
      const told = await ask("TillPurchase", { input: waiting[0] });
      if (told.__typename === "Rejection" && told.retryable) break;
      if (told.__typename === "Rejection") say(`${words.refused} ${waiting[0].receipt.reference}, ${told.cashierText}`);
      keepQueue(queue().filter((each) => each.idempotencyKey !== waiting[0].idempotencyKey));
    }
  } catch { /* still away; asked again */ } finally {
    isSending = false;
  }
}

// --- What is seen -----------------------------------------------------------------------------------------------

/** @param {keyof typeof steps} step */
function go(step) {
  sale.step = step;
  part("label").textContent = words[step];
  field.value = "";
  field.type = step === "proof" ? "password" : "text";
  field.inputMode = step === "amount" || step === "points" || step === "part" ? "decimal" : "text";
  say("");
  field.focus();
}

/** Who stands there, as far as the till may know, and what is on offer to them. */
function who() {
  const { initial, tier, balance } = sale.found;
  const told = [made("span", { className: "badge", textContent: tier }),
    made("strong", { textContent: `${number(balance.available)} ${words.available}` })];
  if (initial) told.unshift(made("strong", { className: "initial", textContent: `${initial}.` }));
  const lines = sale.offers.map((/** @type {any} */ each) => made("li", { textContent: each.title }));
  return [made("div", { className: "who" }, told), made("ul", { className: "lines offers-now" }, lines)];
}

function showMember() {
  part("sheet").replaceChildren(...who());
}

function showQuote() {
  const { quote, found } = sale;
  const told = /** @type {[string, string, boolean?][]} */ ([
    [words.earns, `+${number(quote.points)}`, true],
    [words.most, number(quote.maxRedeem.points)],
  ]);
  const after = made("span", { textContent: number(found.balance.available) });
  sale.after = after;
  if (sale.hold) told.push([words.held, number(sale.hold.points)]);
  const shown = figures(told);
  shown.append(made("div", {}, [made("dt", { textContent: words.after }), made("dd", {}, [after])]));
  part("sheet").replaceChildren(...who(), shown, made("ul", { className: "lines" },
    quote.reasons.map((/** @type {any} */ each) => made("li", { textContent: `${each.text}: ${number(each.points)}` }))));
}

// --- A code for the member's phone ------------------------------------------------------------------------------

const PAIRING_MILLISECONDS = 1_500;

async function pair() {
  begin();
  const mine = sale;
  const told = await ask("TillPairing", { input: { idempotencyKey: crypto.randomUUID(), outlet: here().outlet, terminal: here().terminal } });
  if (told.__typename === "Rejection") throw new Refused(told.cashierText);
  const { generate } = await import("./lean-qr.mjs");
  if (sale !== mine || sale.step !== "member") return;
  const canvas = made("canvas", { role: "img", ariaLabel: words.pairing });
  generate(told.link).toCanvas(canvas, { on: [0, 0, 0], off: [255, 255, 255], pad: 2 });
  part("sheet").replaceChildren(made("figure", { className: "pairing" }, [canvas, made("figcaption", { textContent: told.cashierText })]));
  void wait(told.pairing, mine);
}

/** Ask what became of a code for as long as it is shown and good. @param {any} pairing @param {any} mine */
async function wait({ id, expiresAt }, mine) {
  const isShown = () => sale === mine && sale.step === "member";
  while (isShown()) {
    await new Promise((resolve) => setTimeout(resolve, PAIRING_MILLISECONDS));
    const told = isShown() ? await ask("TillPaired", { id }).catch(() => null) : null;  // away for a moment: asked again
    if (!isShown() || isBusy) continue;
    if (told?.visit) {
      sound(true);
      return void doing(() => recognise({ visit: told.visit }));
    }
    if (told?.status === "EXPIRED" || now().getTime() > Date.parse(expiresAt)) {
      part("sheet").replaceChildren();
      return say(words.pairingOver);
    }
  }
}

function begin() {
  sale = {};
  part("sheet").replaceChildren();
  go("member");
}

// --- The camera -------------------------------------------------------------------------------------------------

/** @type {AbortController | null} */
let looking = null;

function close() {
  looking?.abort();
  looking = null;
  part("eye").hidden = true;
}

async function look() {
  if (looking) return close();
  const ended = looking = new AbortController();
  part("eye").hidden = false;
  say(words.camera, true);
  let text = null;
  try {
    const { scan } = await import("./camera.mjs");
    text = await scan(part("video"), ended.signal);
  } catch {
    throw new Refused(words.noCamera);
  } finally {
    if (looking === ended) close();
  }
  if (!text) return;
  field.value = text;
  part("form").requestSubmit();
}

// --- This device ------------------------------------------------------------------------------------------------

async function keepPage() {
  const { partner, zone, currency } = place.dataset;
  localStorage.setItem(KEPT, JSON.stringify({ told: { partner, zone, currency }, places, offset, name: part("partner-name").textContent }));
  if (!navigator.serviceWorker) return;
  const address = "/portal/till/worker.js";
  const trusted = /** @type {any} */ (window).trustedTypes?.createPolicy("worker", { createScriptURL: () => address });
  await navigator.serviceWorker.register(trusted ? trusted.createScriptURL("") : address, { scope: "/portal/till" });
  await navigator.serviceWorker.ready;
  place.dataset.isKept = "yes";
}

/** The page without a network: what it knows is what was kept; when there is a network again it comes anew, if idle. */
function offline() {
  part("partner-name").textContent = kept.name;
  part("places").replaceChildren(...places.map((/** @type {any} */ each, /** @type {number} */ index) =>
    made("option", { value: String(index), textContent: `${each.name} · ${each.terminal}` })));
  const isIdle = () => (sale.step === "member" || sale.step === "done") && !field.value;
  const isThere = () => fetch("/portal/till/worker.js", { method: "HEAD", cache: "no-store" }).then((told) => told.ok, () => false);
  // Asked again and again: a network that comes and goes says only once that it is there.
  const back = async () => { if (navigator.onLine && isIdle() && await isThere() && isIdle()) location.reload(); };
  addEventListener("online", back);
  setInterval(back, 5_000);
}

// --- Keys -------------------------------------------------------------------------------------------------------

const presses = {
  async Escape() {
    const held = sale.hold;
    begin();
    if (!held) return;
    const told = await ask("TillRelease", { input: { idempotencyKey: crypto.randomUUID(), holdId: held.id } });
    if (told.__typename === "Rejection") throw new Refused(told.cashierText);
    say(words.released, true);
  },
  async F2() {
    if (!last) throw new Refused(words.nothingToUndo);
    const told = await ask("TillCancel", { input: {
      idempotencyKey: crypto.randomUUID(),
      receipt: { outlet: last.place.outlet, terminal: last.place.terminal, businessDate: last.date, reference: last.reference },
    } });
    if (told.__typename === "Rejection") throw new Refused(told.cashierText);
    last = null;
    begin();
    say(told.cashierText, true);
  },
  async F4() {
    begin();
    go("receipt");
  },
  F7: pair,
  async F8() {
    if (sale.step !== "points" || sale.hold) return;
    const text = field.value.trim();
    const most = BigInt(sale.quote.maxRedeem.points);
    if (!/^[1-9]\d{0,14}$/.test(text) || BigInt(text) > most) throw new Refused(words.notPoints.replace("{most}", number(most.toString())));
    Object.assign(sale, { points: text, holdKey: crypto.randomUUID(), isHolding: true });
    if (sale.code) return hold({ cardCode: sale.code });
    go("proof");
  },
};
const looks = { F9: look };

/** @param {() => Promise<any>} work */
async function doing(work) {
  if (isBusy) return;
  isBusy = true;
  try {
    await work();
  } catch (error) {
    sound(false);
    say(error instanceof Away ? words.failed : error instanceof Error ? error.message : "");
    field.select();
  } finally {
    isBusy = false;
    field.focus();
  }
}

if (isOffline && !kept) {
  say(words.nothingKept);
  part("form").hidden = true;
} else if (field) {
  if (isOffline) offline();
  part("camera").hidden = !navigator.mediaDevices?.getUserMedia;
  part("form").addEventListener("submit", (/** @type {Event} */ event) => {
    event.preventDefault();
    const text = field.value.trim();
    void doing(() => steps[/** @type {keyof typeof steps} */ (sale.step)](text));
  });
  field.addEventListener("input", () => {
    if (sale.step !== "points" || !sale.after || !/^\d{0,15}$/.test(field.value)) return;
    const left = BigInt(sale.found.balance.available) - BigInt(field.value || "0");
    sale.after.textContent = number((left < 0n ? 0n : left).toString());
  });
  const press = (/** @type {string} */ key) => void (key in looks
    ? look().catch((error) => { sound(false); say(error.message); })
    : (close(), doing(presses[/** @type {keyof typeof presses} */ (key)])));
  document.addEventListener("keydown", (event) => {
    if (!(event.key in presses) && !(event.key in looks)) return;
    event.preventDefault();
    press(event.key);
  });
  document.querySelectorAll("[data-press]").forEach((button) =>
    button.addEventListener("click", () => press(/** @type {HTMLElement} */ (button).dataset.press ?? "")));
  part("places").value = localStorage.getItem("till-place") ?? "0";
  if (!here()) part("places").value = "0";
  part("places").addEventListener("change", () => { localStorage.setItem("till-place", part("places").value); begin(); });
  document.addEventListener("click", (event) => { if (event.target !== part("places")) field.focus(); });
  addEventListener("online", () => void send());
  setInterval(() => { if (queue().length) void send(); }, 15_000);
  keepQueue(queue());
  begin();
  void send();
  if (!isOffline) void keepPage();
}
