// Answers that are numbers: typed from anywhere on the page, read here, checked once more by the service.

const field = document.getElementById("number-text");
const hint = document.getElementById("number-hint");
const together = document.getElementById("bulk-number");
const DECIMAL = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;

export const range =
  field === null ? null : { low: Number(field.dataset.min), high: Number(field.dataset.max), bounds: field.dataset.bounds, unit: field.dataset.unit };

// An answer in words.
export const spoken = (label) => (range === null || range.unit === "" ? label : `${label} ${range.unit}`);

// A number as it was typed: {label}, or {problem: what is wrong with it}.
export function read(text) {
  const typed = text.trim();
  if (typed === "") return { problem: `Type a number from ${range.bounds}.` };
  if (typed.includes(",")) return { problem: "Write a point for decimals, and nothing between thousands." };
  const number = DECIMAL.test(typed) ? Number(typed) : NaN;
  if (!(number >= range.low && number <= range.high)) return { problem: `${typed} is no number from ${range.bounds}.` };
  return { label: String(number) };
}

// Whether a number is far from the usual ones. usual: {low, high}, or null.
export function unusual(label, usual) {
  return usual !== null && !(Number(label) >= usual.low && Number(label) <= usual.high);
}

export function hintOf(usual) {
  if (hint !== null) hint.textContent = usual === null ? range.bounds : `${range.bounds}, usually ${usual.text}`;
}

export function enableNumber(can, before) {
  if (field === null) return;
  field.disabled = !can;
  document.getElementById("number-send").disabled = !can;
  field.value = before;
}

// A key that begins a number, or goes on with one, goes into the field. Gives whether it does.
export function takesKey(event) {
  if (field === null || field.disabled) return false;
  const inside = document.activeElement === field;
  const begins = /^[0-9.-]$/.test(event.key);
  if (begins && !inside) {
    field.focus();
    field.select();
  }
  if (begins || event.key === ",") return true;
  return inside && field.value !== "" && /^(e|E|\+|Backspace|Delete)$/.test(event.key);
}

export function onNumber(take, say) {
  if (field === null) return;
  const sent = (from, send) => (event) => {
    event.preventDefault();
    const { label, problem } = read(from.value);
    if (problem) say(problem, true);
    else send(label);
  };
  document.getElementById("number").addEventListener("submit", sent(field, take));
}

// The number for cases that are answered together; `take` is called with it.
export function onTogether(take) {
  if (together === null) return false;
  const problem = document.getElementById("bulk-problem");
  problem.hidden = true;
  together.value = "";
  together.closest("form").onsubmit = (event) => {
    event.preventDefault();
    const { label, problem: why } = read(together.value);
    problem.hidden = label !== undefined;
    if (label === undefined) problem.textContent = why;
    else take(label);
  };
  return true;
}
