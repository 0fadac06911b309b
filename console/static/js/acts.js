// What htmx's requests of a page have in common: the session's secret, what is said when one fails, and where the person
// is when what they worked in has been replaced.

const main = document.getElementById("main");
const failed = document.getElementById("failed");

document.addEventListener("htmx:configRequest", (event) => {
  event.detail.headers["x-csrf-token"] = main.dataset.csrf;
  event.detail.headers.accept = "text/html, application/json";
});

const tell = (text) => {
  failed.textContent = text;
  failed.hidden = text === "";
};
document.addEventListener("htmx:beforeRequest", () => tell(""));
document.addEventListener("htmx:sendError", () => tell("The console does not answer. Nothing was changed; try again in a moment."));
document.addEventListener("htmx:responseError", (event) => {
  const { xhr } = event.detail;
  if (xhr.status === 401) return location.assign(`${main.dataset.base}/sign-in`);
  let text = "The console refused this.";
  try {
    text = JSON.parse(xhr.responseText).error.text;
  } catch {
    // no JSON: the sentence above has to do
  }
  tell(text);
});

// A part of a page that is replaced takes the focus with it, and is not read out. So what came of an act is told in a
// place that stays, and whoever worked in the third part of the list is in the third again: in the part itself, not in
// its button, which a key that is pressed twice must not press.
const spoken = document.createElement("div");
spoken.className = "visually-hidden";
spoken.setAttribute("role", "status");
document.body.append(spoken);
const PART = "article, section, tr";
let place = null;
document.addEventListener("htmx:beforeSwap", (event) => {
  const { target, requestConfig } = event.detail;
  const part = requestConfig.elt.closest(PART);
  const parts = [...target.querySelectorAll(PART)];
  const within = document.activeElement === document.body || target.contains(document.activeElement);
  place = within ? { at: part === null ? -1 : parts.filter((each) => each.tagName === part.tagName).indexOf(part), tag: part?.tagName } : null;
});
document.addEventListener("htmx:afterSwap", (event) => {
  const { target } = event.detail;
  spoken.textContent = target.querySelector(".told")?.textContent ?? "";
  if (place === null || document.activeElement !== document.body) return;
  const parts = place.tag === undefined ? [] : target.querySelectorAll(place.tag);
  const part = parts[Math.min(place.at, parts.length - 1)] ?? target;
  part.tabIndex = -1;
  part.focus({ preventScroll: part === target });
});
