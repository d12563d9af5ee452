// The token of a service that asks for one: typed in a dialog, kept while the tab is open.
import { word } from "./words.js";

const KEY = "token";
let token = "";
try { token = sessionStorage.getItem(KEY) ?? ""; } catch { /* a page without storage */ }
let asked = null; // several requests wait for one dialog

export function bearing() { return token ? { Authorization: `Bearer ${token}` } : {}; }

export function askToken() {
  asked ??= answered().finally(() => { asked = null; });
  return asked;
}

function answered() {
  const [dialog, form, field, wrong] = ["token", "token-form", "token-field", "token-wrong"].map((id) => document.getElementById(id));
  document.getElementById("token-forget").hidden = false;
  wrong.hidden = !token;
  token = "";
  keep();
  field.value = "";
  dialog.showModal();
  return new Promise((resolve, reject) => {
    form.onsubmit = (event) => {
      event.preventDefault();
      token = field.value.trim();
      keep();
      dialog.close("given");
    };
    dialog.onclose = () => {
      if (dialog.returnValue === "given") resolve();
      else reject(new Error(word("tokenNeeded")));
      dialog.returnValue = "";
    };
  });
}

function keep() {
  try {
    if (token) sessionStorage.setItem(KEY, token);
    else sessionStorage.removeItem(KEY);
  } catch { /* then it is kept until the page is left */ }
}

const forget = document.getElementById("token-forget");
forget.hidden = !token;
forget.addEventListener("click", () => { token = ""; keep(); location.reload(); });
