// Passkeys (WebAuthn level 3). A form with data-passkey asks the browser for a passkey when it is submitted, puts the
// answer into its field "answer", and goes the way of every other form. Without this script it stays hidden.
"use strict";

(() => {
  const toBytes = (text) =>
    Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (char) => char.charCodeAt(0));
  const toText = (buffer) =>
    btoa(String.fromCharCode(...new Uint8Array(buffer)))
      .replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");

  const MESSAGES = {
    NotAllowedError: "No passkey was used: it took too long, or was cancelled.",
    InvalidStateError: "This device has a passkey for you already.",
    SecurityError: "The browser does not allow passkeys at this address.",
    NotSupportedError: "This device cannot make such a passkey.",
  };

  const descriptors = (list) => (list || []).map((one) => ({ ...one, id: toBytes(one.id) }));

  async function options(path) {
    const response = await fetch(path, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: "{}",
    });
    const answer = read(await response.text());
    if (!response.ok || answer.detail) throw new Error(answer.detail || "The request failed.");
    return answer;
  }

  // What refuses a request before the portal has looked at it says so in plain words.
  function read(text) {
    try {
      return JSON.parse(text);
    } catch {
      return { detail: text.trim() };
    }
  }

  async function get(path) {
    const asked = await options(path);
    asked.challenge = toBytes(asked.challenge);
    asked.allowCredentials = descriptors(asked.allowCredentials);
    const found = await navigator.credentials.get({ publicKey: asked });
    const said = found.response;
    const response = {
      clientDataJSON: toText(said.clientDataJSON),
      authenticatorData: toText(said.authenticatorData),
      signature: toText(said.signature),
    };
    if (said.userHandle && said.userHandle.byteLength) response.userHandle = toText(said.userHandle);
    return { id: found.id, rawId: toText(found.rawId), type: found.type, response };
  }

  async function create(path) {
    const asked = await options(path);
    asked.challenge = toBytes(asked.challenge);
    asked.user.id = toBytes(asked.user.id);
    asked.excludeCredentials = descriptors(asked.excludeCredentials);
    const made = await navigator.credentials.create({ publicKey: asked });
    const response = {
      clientDataJSON: toText(made.response.clientDataJSON),
      attestationObject: toText(made.response.attestationObject),
    };
    return { id: made.id, rawId: toText(made.rawId), type: made.type, response };
  }

  function prepare(form) {
    const button = form.querySelector("button");
    const status = form.querySelector("[role=status]");
    form.addEventListener("submit", async (event) => {
      if (form.elements.answer.value) return;
      event.preventDefault();
      button.disabled = true;
      status.textContent = "Waiting for your passkey …";
      try {
        const ask = form.dataset.passkey === "create" ? create : get;
        form.elements.answer.value = JSON.stringify(await ask(form.dataset.options));
        form.submit();
      } catch (error) {
        status.textContent = MESSAGES[error.name] || error.message;
        button.disabled = false;
      }
    });
    form.hidden = false;
  }

  // Back from the next page, the browser may show this one as it was left.
  window.addEventListener("pageshow", (event) => event.persisted && location.reload());

  const able = window.isSecureContext && "PublicKeyCredential" in window;
  document.querySelectorAll(able ? "form[data-passkey]" : "[data-without-passkeys]").forEach((found) =>
    able ? prepare(found) : (found.hidden = false));
})();
