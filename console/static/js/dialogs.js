// The small windows: for a text, for a class among many, and the keys.

import { onTogether } from "./number.js";

const ask = document.getElementById("ask");
const text = document.getElementById("ask-text");
const problem = document.getElementById("ask-problem");

// Ask for a text; gives it, or null where the person left.
export function askFor({ title, words, yes, required = false, before = "" }) {
  document.getElementById("ask-title").textContent = title;
  document.getElementById("ask-words").textContent = words;
  document.getElementById("ask-yes").textContent = yes;
  text.value = before;
  problem.hidden = true;
  ask.showModal();
  text.focus();
  text.setSelectionRange(before.length, before.length);
  return new Promise((resolve) => {
    const form = ask.querySelector("form");
    const close = (value) => {
      form.removeEventListener("submit", submitted);
      ask.removeEventListener("cancel", cancelled);
      text.removeEventListener("keydown", entered);
      no.removeEventListener("click", cancelled);
      if (ask.open) ask.close();
      backToCase();
      resolve(value);
    };
    const submitted = (event) => {
      event.preventDefault();
      const value = text.value.trim();
      if (required && value === "") {
        problem.textContent = "Write a few words: whoever reads it has nothing else to go by.";
        problem.hidden = false;
        text.focus();
        return;
      }
      close(value);
    };
    const cancelled = (event) => {
      event.preventDefault();
      close(null);
    };
    const entered = (event) => {
      if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
        event.preventDefault();
        form.requestSubmit();
      }
    };
    const no = document.getElementById("ask-no");
    form.addEventListener("submit", submitted);
    ask.addEventListener("cancel", cancelled);
    text.addEventListener("keydown", entered);
    no.addEventListener("click", cancelled);
  });
}

const find = document.getElementById("find");
const typed = document.getElementById("find-text");
const choices = [...document.querySelectorAll("#find-list [data-label]")];

// Find a class by a part of its name; `chosen` is called with it.
export function findClass(chosen) {
  typed.value = "";
  filter();
  find.showModal();
  typed.focus();
  typed.oninput = filter;
  const take = (label) => {
    find.close();
    backToCase();
    chosen(label);
  };
  find.querySelector("form").onsubmit = (event) => {
    event.preventDefault();
    const left = choices.filter((choice) => !choice.parentElement.hidden);
    const exact = left.find((choice) => choice.dataset.label.toLowerCase() === typed.value.trim().toLowerCase());
    if (exact || left.length === 1) take((exact ?? left[0]).dataset.label);
  };
  for (const choice of choices) choice.onclick = () => take(choice.dataset.label);
}

function filter() {
  const part = typed.value.trim().toLowerCase();
  for (const choice of choices) choice.parentElement.hidden = !choice.dataset.label.toLowerCase().includes(part);
}

const bulk = document.getElementById("bulk");
const list = document.getElementById("bulk-list");
const count = document.getElementById("bulk-count");
const verdicts = [...bulk.querySelectorAll("[data-label]")];

// Show cases that are alike; gives {label, taken: numbers of those that are answered}, or null where the person left.
export function lookAtAll(node) {
  list.replaceChildren(node);
  bulk.showModal();
  const first = list.querySelector("input");
  if (first) first.focus();
  const boxes = [...list.querySelectorAll("input[data-number]")];
  const tell = () => {
    const others = boxes.filter((box) => box.checked).length;
    count.textContent = others === 0 ? "The case in hand alone is answered." : `${others + 1} cases are answered: the one in hand and ${others} like it.`;
  };
  tell();
  list.onchange = tell;
  return new Promise((resolve) => {
    const close = (value) => {
      bulk.removeEventListener("cancel", cancelled);
      bulk.removeEventListener("keydown", pressed);
      if (bulk.open) bulk.close();
      backToCase();
      resolve(value);
    };
    const take = (label) => {
      const taken = boxes.filter((box) => box.checked).map((box) => Number(box.dataset.number));
      close({ label, taken });
    };
    const cancelled = (event) => {
      event.preventDefault();
      close(null);
    };
    const pressed = (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
      const verdict = /^[1-9]$/.test(event.key) && verdicts.length <= 9 ? verdicts[Number(event.key) - 1] : undefined;
      if (verdict !== undefined) {
        event.preventDefault();
        take(verdict.dataset.label);
      } else if (event.key === "Enter") {
        if (event.target.tagName !== "BUTTON" && event.target.id !== "bulk-number") event.preventDefault();
      }
    };
    bulk.addEventListener("cancel", cancelled);
    bulk.addEventListener("keydown", pressed);
    if (!onTogether(take)) bulk.querySelector("form").onsubmit = (event) => event.preventDefault();
    document.getElementById("bulk-no").onclick = () => close(null);
    for (const verdict of verdicts) verdict.onclick = () => take(verdict.dataset.label);
  });
}

export function showKeys() {
  document.getElementById("help").showModal();
}

// The case has the keys again: a text field in a closed window must not keep them.
export function backToCase() {
  const main = document.getElementById("main");
  main.classList.add("by-script");
  main.addEventListener("blur", () => main.classList.remove("by-script"), { once: true });
  main.focus({ preventScroll: true });
}

for (const dialog of document.querySelectorAll("dialog")) dialog.addEventListener("close", backToCase);

export const open = () => document.querySelector("dialog[open]") !== null;
