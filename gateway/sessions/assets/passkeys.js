// @ts-check
// Passkeys: asks the gateway for a challenge, lets the device answer it, and hands the answer in. Without this script, or in
// a browser that knows no passkeys, its buttons stay hidden and the code does everything.

/** @param {string} text */
function bytes(text) {
  const binary = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
  return Uint8Array.from(binary, (sign) => sign.charCodeAt(0));
}

/** @param {ArrayBuffer} buffer */
function base64url(buffer) {
  const binary = Array.from(new Uint8Array(buffer), (byte) => String.fromCharCode(byte)).join("");
  return btoa(binary).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

/** @param {any[]} listed */
function identified(listed) {
  return (listed ?? []).map((each) => ({ ...each, id: bytes(each.id) }));
}

/** @param {any} options */
async function made(options) {
  const user = { ...options.user, id: bytes(options.user.id) };
  const publicKey = {
    ...options, user, challenge: bytes(options.challenge), excludeCredentials: identified(options.excludeCredentials),
  };
  const credential = /** @type {any} */ (await navigator.credentials.create({ publicKey }));
  return told(credential, { attestationObject: base64url(credential.response.attestationObject) });
}

/** @param {any} options */
async function used(options) {
  const publicKey = {
    ...options, challenge: bytes(options.challenge), allowCredentials: identified(options.allowCredentials),
  };
  const credential = /** @type {any} */ (await navigator.credentials.get({ publicKey }));
  const { authenticatorData, signature, userHandle } = credential.response;
  return told(credential, {
    authenticatorData: base64url(authenticatorData),
    signature: base64url(signature),
    userHandle: userHandle ? base64url(userHandle) : null,
  });
}

/** @param {any} credential @param {object} response */
function told(credential, response) {
  const clientDataJSON = base64url(credential.response.clientDataJSON);
  return {
    id: credential.id, rawId: base64url(credential.rawId), type: credential.type,
    clientExtensionResults: {}, response: { clientDataJSON, ...response },
  };
}

/** @param {HTMLElement} place @param {string} path @param {object} content */
async function posted(place, path, content) {
  const answer = await fetch(path, {
    method: "POST",
    credentials: "same-origin",
    headers: { "Content-Type": "application/json", "X-CSRF-Token": place.dataset.csrf ?? "" },
    body: JSON.stringify(content),
  });
  const body = await answer.json().catch(() => ({}));
  return { ok: answer.ok, body };
}

/** @param {HTMLElement} place */
function offer(place) {
  const button = /** @type {HTMLButtonElement} */ (place.querySelector("button"));
  const alert = /** @type {HTMLElement} */ (place.querySelector("[role=alert]"));
  const ceremony = place.dataset.passkey === "add" ? made : used;

  /** @param {string} code */
  const refuse = (code) => {
    if (code === "STEP_UP_REQUIRED") {
      location.assign(`${place.dataset.confirm}?next=${encodeURIComponent(location.pathname)}`);
      return;
    }
    alert.textContent = place.getAttribute(`data-code-${code.toLowerCase()}`) ?? place.dataset.cancelled ?? "";
    alert.hidden = false;
    button.disabled = false;
  };

  button.addEventListener("click", async () => {
    button.disabled = true;
    alert.hidden = true;
    try {
      const options = await posted(place, place.dataset.options ?? "", {});
      if (!options.ok) return refuse(options.body.code ?? "");
      const credential = await ceremony(options.body);
      const answer = await posted(place, place.dataset.answer ?? "", { credential, next: place.dataset.next });
      if (!answer.ok) return refuse(answer.body.code ?? "");
      location.assign(answer.body.next);
    } catch {
      refuse("");
    }
  });
  place.hidden = false;
}

if (window.PublicKeyCredential) {
  document.querySelectorAll("[data-without-script]").forEach((each) => /** @type {HTMLElement} */ (each).hidden = true);
  document.querySelectorAll("[data-passkey]").forEach((each) => offer(/** @type {HTMLElement} */ (each)));
}
