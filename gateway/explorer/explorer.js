"use strict";
// Signs in with a partner's own client and lets GraphiQL ask. Nothing is stored, nothing comes from elsewhere.
const standing = document.getElementById("standing");
const examplesForm = document.getElementById("examples");

// --- Who asks: a secret brings a plain token, a private key one that is bound to a key of this page -------------

const KINDS = {
  EC: { alg: "ES256", key: { name: "ECDSA", namedCurve: "P-256" }, sign: { name: "ECDSA", hash: "SHA-256" } },
  OKP: { alg: "Ed25519", key: { name: "Ed25519" }, sign: { name: "Ed25519" } },
  RSA: { alg: "PS256", key: { name: "RSA-PSS", hash: "SHA-256" }, sign: { name: "RSA-PSS", saltLength: 32 } },
};
let token = null;
let bound = null;

const packed = (bytes) => {
  const text = Array.from(new Uint8Array(bytes), (byte) => String.fromCharCode(byte)).join("");
  return btoa(text).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
};
const written = (value) => packed(new TextEncoder().encode(JSON.stringify(value)));
const seconds = () => Math.floor(Date.now() / 1000);

async function signed(kind, key, header, claims) {
  const said = written({ alg: kind.alg, ...header }) + "." + written(claims);
  return said + "." + packed(await crypto.subtle.sign(kind.sign, key, new TextEncoder().encode(said)));
}

async function proofOf(path, shown) {
  const claims = { htm: "POST", htu: location.origin + path, iat: seconds(), jti: crypto.randomUUID() };
  if (shown) {
    claims.ath = packed(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(shown)));
  }
  if (bound.nonce) {
    claims.nonce = bound.nonce;
  }
  return signed(KINDS.EC, bound.key, { typ: "dpop+jwt", jwk: bound.jwk }, claims);
}

async function bind() {
  const pair = await crypto.subtle.generateKey(KINDS.EC.key, false, ["sign"]);
  const { kty, crv, x, y } = await crypto.subtle.exportKey("jwk", pair.publicKey);
  bound = { key: pair.privateKey, jwk: { kty, crv, x, y }, nonce: null };
}

async function assertionOf(client, told) {
  const kind = KINDS[told.kty];
  const { kty, crv, n, e, x, y, d, p, q, dp, dq, qi } = told;
  const plain = JSON.parse(JSON.stringify({ kty, crv, n, e, x, y, d, p, q, dp, dq, qi }));
  const key = await crypto.subtle.importKey("jwk", plain, kind.key, false, ["sign"]);
  const claims = { iss: client, sub: client, aud: location.origin, exp: seconds() + 60, jti: crypto.randomUUID() };
  return signed(kind, key, {}, claims);
}

async function askForToken(client, secret) {
  const headers = { "Content-Type": "application/x-www-form-urlencoded" };
  const form = new URLSearchParams({ grant_type: "client_credentials" });
  if (secret.startsWith("{")) {
    form.set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
    form.set("client_assertion", await assertionOf(client, JSON.parse(secret)));
    headers.DPoP = await proofOf("/oauth/token", null);
  } else {
    headers.Authorization = "Basic " + btoa(client + ":" + secret);
  }
  return fetch("/oauth/token", { method: "POST", headers, body: form.toString() });
}

document.getElementById("sign-in").addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = new FormData(event.target);
  const client = form.get("client").trim();
  const secret = form.get("secret").trim();
  try {
    await bind();
    let answer = await askForToken(client, secret);
    if (!answer.ok && answer.headers.get("dpop-nonce")) {
      bound.nonce = answer.headers.get("dpop-nonce");
      answer = await askForToken(client, secret);
    }
    const said = await answer.json();
    token = answer.ok ? { type: said.token_type, text: said.access_token } : null;
    standing.textContent = answer.ok ? "Signed in for ten minutes: " + said.scope : "Refused: " + said.error;
  } catch {
    token = null;
    standing.textContent = "This is neither a secret nor a private key as a JSON Web Key.";
  }
});

async function headersNow() {
  const headers = { "Content-Type": "application/json" };
  if (token && token.type.toLowerCase() === "dpop") {
    headers.Authorization = "DPoP " + token.text;
    headers.DPoP = await proofOf("/graphql", token.text);
  } else if (token) {
    headers.Authorization = "Bearer " + token.text;
  }
  return headers;
}

async function ask(asked) {
  const send = async () =>
    fetch("/graphql", { method: "POST", headers: await headersNow(), body: JSON.stringify(asked) });
  let answer = await send();
  if (answer.status === 401 && answer.headers.get("dpop-nonce")) {
    bound.nonce = answer.headers.get("dpop-nonce");
    answer = await send();
  }
  if (answer.status === 401) {
    standing.textContent = "Not signed in, or the token has ended.";
  }
  return answer.json();
}

// --- Examples: filled in with what the sandbox page made up -----------------------------------------------------

let reference = null;

function filled(value, words) {
  if (typeof value === "string") {
    return value.replace(/^\{(\w+)\}$/, (whole, name) => words[name] ?? whole);
  }
  if (Array.isArray(value)) {
    return value.map((each) => filled(each, words));
  }
  if (value !== null && typeof value === "object") {
    return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, filled(each, words)]));
  }
  return value;
}

function wordsOf(form, isNew) {
  const words = Object.fromEntries(form.entries());
  if (isNew || reference === null) {
    reference = "TRY-" + crypto.randomUUID().slice(0, 8).toUpperCase();
  }
  return { ...words, day: words.moment.slice(0, 10), key: crypto.randomUUID(), reference };
}

const FIRST = `# Sign in above, put an example here or write your own, then press Ctrl-Enter.
{
  viewer {
    __typename
    ... on PartnerClient { partner { name code } scopes }
  }
}
`;

async function begin() {
  const [schema, examples] = await Promise.all(
    ["/explorer/schema.json", "/explorer/examples.json"].map(async (path) => (await fetch(path)).json()),
  );
  const root = ReactDOM.createRoot(document.getElementById("explorer"));
  const draw = (more) =>
    root.render(
      React.createElement(GraphiQL, { fetcher: ask, schema, defaultQuery: FIRST, shouldPersistHeaders: false, ...more }),
    );
  for (const [number, each] of examples.entries()) {
    examplesForm.elements.example.append(new Option(each.title, String(number)));
  }
  // The sandbox page says behind the # which card, outlet and till it made up: it never leaves this page.
  const told = new URLSearchParams(location.hash.slice(1));
  for (const name of ["card", "outlet", "till", "moment", "currency"]) {
    examplesForm.elements[name].value = told.get(name) ?? examplesForm.elements[name].value;
  }
  if (!examplesForm.elements.moment.value) {
    examplesForm.elements.moment.value = new Date().toISOString().slice(0, 19) + "Z";
  }
  examplesForm.addEventListener("submit", (event) => {
    event.preventDefault();
    const form = new FormData(examplesForm);
    const chosen = examples[Number(form.get("example"))];
    const words = wordsOf(form, chosen.query.includes("recordPurchase") || chosen.query.includes("quote("));
    draw({ query: chosen.query, variables: JSON.stringify(filled(chosen.variables, words), null, 2) });
  });
  draw({});
}

begin();
