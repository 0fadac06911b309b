// What htmx's requests of a page have in common: the session's secret, and what is said when one fails.

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
