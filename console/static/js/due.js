// How long until a case is due, counted on by this machine's clock from what the page was told: a wrong clock shows
// no wrong time. The words are those of console/shown/formatting.py.

const STEPS = [["d", 1440], ["h", 60], ["min", 1]];

// A length of time in its two largest units, to the minute.
export function lasting(seconds) {
  const parts = [];
  let left = Math.floor(Math.abs(seconds) / 60);
  for (const [unit, minutes] of STEPS) {
    const count = Math.floor(left / minutes);
    left -= count * minutes;
    if (count > 0 || parts.length > 0) parts.push(count > 0 ? `${count} ${unit}` : "");
    if (parts.length === 2) break;
  }
  return parts.filter((part) => part !== "").join(" ") || "less than a minute";
}

export function dueIn(seconds) {
  const words = lasting(seconds);
  return seconds > 0 ? `due in ${words}` : `overdue by ${words}`;
}

// Of a case that came just now: when it is due, by this machine's clock.
export function noteDue(node) {
  for (const tag of node.querySelectorAll("[data-left]")) tag.dataset.due = Date.now() + 1_000 * Number(tag.dataset.left);
}

export function tellDue(node) {
  for (const tag of node.querySelectorAll("[data-due]")) {
    const seconds = (Number(tag.dataset.due) - Date.now()) / 1_000;
    tag.textContent = dueIn(seconds);
    tag.classList.toggle("bad", seconds <= 0);
  }
}
