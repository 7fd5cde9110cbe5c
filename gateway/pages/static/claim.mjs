// @ts-check
// Says of a picture that was chosen what it is and its SHA-256; the picture itself stays on this device.

document.querySelectorAll("input[data-evidence]").forEach((found) => {
  const chosen = /** @type {HTMLInputElement} */ (found);
  const told = (/** @type {string} */ name) => /** @type {HTMLInputElement} */ (chosen.form?.elements.namedItem(`evidence_${name}`));
  chosen.addEventListener("change", async () => {
    const [file] = chosen.files ?? [];
    const digest = file ? await crypto.subtle.digest("SHA-256", await file.arrayBuffer()) : null;
    told("sha256").value = digest ? [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, "0")).join("") : "";
    told("type").value = file?.type ?? "";
    told("size").value = String(file?.size ?? "");
    chosen.dataset.isRead = "yes";
  });
});
