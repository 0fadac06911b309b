// The Loop page: what the server tells is put in place as it comes, and charts are drawn of the metrics' topic.

const main = document.getElementById("main");
const base = main.dataset.base;
const live = document.getElementById("live");
const stale = document.getElementById("stale");
const EVERY_MS = 15_000;

const source = new EventSource(`${base}/loop/events`);
source.addEventListener("live", (event) => {
  stale.hidden = true;
  const html = JSON.parse(event.data);
  if (live.dataset.last !== html && !selecting()) {
    replace(html);
    live.dataset.last = html;
  }
});
source.addEventListener("ended", () => {
  source.close();
  location.assign(`${base}/sign-in`);
});
source.addEventListener("error", () => (stale.hidden = false));

// A table that was moved aside, and what has the focus, are where they were; what is wrong is read out when it changes.
function replace(html) {
  const named = () => new Map([...live.querySelectorAll("[aria-label], a[href]")].map((each) => [each.getAttribute("aria-label") ?? each.getAttribute("href"), each]));
  const before = named();
  const moved = [...before].map(([name, each]) => [name, each.scrollLeft]).filter(([, left]) => left > 0);
  const focused = [...before].find(([, each]) => each === document.activeElement)?.[0];
  live.innerHTML = html; // the console's own, in which every text is escaped
  const after = named();
  for (const [name, left] of moved) {
    if (after.has(name)) after.get(name).scrollLeft = left;
  }
  if (focused !== undefined) after.get(focused)?.focus({ preventScroll: true });
  speak();
}

const spoken = document.getElementById("spoken");
const wrong = () => [...live.querySelectorAll(".state > .tag, .state .notice.bad")].map((each) => each.textContent).join(". ");
const withoutNumbers = (text) => text.replace(/\d+/g, "");
let read = withoutNumbers(wrong());
function speak() {
  const now = wrong();
  if (withoutNumbers(now) === read) return; // a count that goes on is no news
  read = withoutNumbers(now);
  spoken.textContent = now;
}

// Whoever is copying a command from the page must not have it replaced under the mouse.
function selecting() {
  const selection = document.getSelection();
  return selection !== null && !selection.isCollapsed && live.contains(selection.anchorNode);
}

// ---- charts

const dark = matchMedia("(prefers-color-scheme: dark)");
const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
let hours = "6";
let told = null;
const drawn = new Map();

const percent = (value) => (value === null || value === undefined ? "" : `${(100 * value).toFixed(value < 0.1 ? 1 : 0)} %`);
const zone = main.dataset.zone;
const clock = (times) => {
  const long = times.length > 1 && times[times.length - 1] - times[0] > 36 * 3_600;
  const shape = long ? { day: "numeric", month: "short" } : { hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
  const format = new Intl.DateTimeFormat("en-GB", { ...shape, timeZone: zone });
  return times.map((time) => format.format(new Date(1_000 * time)));
};
const moment = (time) => (time === null || time === undefined ? "–" : new Date(1_000 * time).toLocaleString("en-GB", { timeZone: zone, dateStyle: "medium", timeStyle: "medium" }));
const plain = (value) => (value === null || value === undefined ? "" : value.toLocaleString("en", { maximumSignificantDigits: 3 }));

// Told apart by their dashes too, for those who don't see the colours.
const FEATURE_LINES = [
  { stroke: "--accent", dash: [8, 3] },
  { stroke: "--positive", dash: [3, 3] },
  { stroke: "--negative", dash: [8, 3, 2, 3] },
  { stroke: "--third", dash: [12, 5] },
  { stroke: "--soft", dash: [1, 3] },
];

const CHARTS = {
  learning: {
    data: (t) => [t.learning[0], t.learning[2], t.learning[3], t.learning[1]],
    time: false,
    range: (u, low) => [told.shares ? 0 : Math.max(-1, Math.min(0, low ?? 0)), 1], // R² falls below 0, and far at first
    value: (value) => (told.shares ? percent(value) : plain(value)),
    series: [{ label: "low", stroke: "transparent" }, { label: "high", stroke: "transparent" }, { label: "quality", stroke: "--accent", points: true }],
    band: true,
  },
  rate: { data: (t) => t.series.prediction_rate.slice(0, 2), value: plain, series: [{ label: "a second", stroke: "--accent" }] },
  delay: {
    data: (t) => merged(t.series.prediction_delay_p50, t.series.prediction_delay_p99),
    value: plain,
    series: [{ label: "median", stroke: "--accent" }, { label: "p99", stroke: "--positive", dash: [5, 4] }],
  },
  drift: {
    data: (t) => t.drift.columns,
    range: (u, low, high) => [0, Math.max(1, (high ?? 0) * 1.08)], // at 1 an alarm is raised
    value: percent,
    series: (t) => [{ label: "all together", stroke: "--ink" }, ...t.drift.names.map((label, number) => ({ label, ...FEATURE_LINES[number] }))],
  },
  budget: { data: (t) => t.series.budget_spent.slice(0, 2), value: plain, series: [{ label: "cases", stroke: "--negative" }] },
};

// Two series on one axis of times; where one has no point it has null.
function merged(one, other) {
  const times = [...new Set([...one[0], ...other[0]])].sort((a, b) => a - b);
  const place = (series) => {
    const at = new Map(series[0].map((time, i) => [time, series[1][i]]));
    return times.map((time) => at.get(time) ?? null);
  };
  return [times, place(one), place(other)];
}

function draw() {
  if (told === null || typeof uPlot === "undefined") return;
  for (const [name, chart] of Object.entries(CHARTS)) {
    const node = document.querySelector(`[data-chart="${name}"]`);
    drawn.get(name)?.destroy();
    drawn.delete(name);
    node.replaceChildren();
    const data = chart.data(told);
    if (data[0].length < (chart.time === false ? 1 : 2)) continue;
    const lines = typeof chart.series === "function" ? chart.series(told) : chart.series;
    const stroke = (each) => (each.startsWith("--") ? color(each) : each);
    const axis = { stroke: color("--soft"), grid: { stroke: color("--line"), width: 1 }, ticks: { show: false }, font: "12px system-ui, sans-serif" };
    const options = {
      width: node.clientWidth,
      height: node.clientHeight - 30,
      scales: {
        x: { time: chart.time !== false, range: chart.time === false ? undefined : [Math.max(told.begin, data[0][0]), told.end] },
        y: { range: chart.range ?? ((u, low, high) => [Math.min(0, low ?? 0), high > 0 ? high * 1.08 : 1]) },
      },
      axes: [chart.time === false ? axis : { ...axis, values: (u, times) => clock(times) }, { ...axis, size: 52, values: (u, values) => values.map(chart.value) }],
      cursor: { y: false },
      hooks: { setCursor: [newest] }, // away from the plot the legend says what is newest
      series: [
        { label: chart.time === false ? "labels" : "time", value: (u, at) => (chart.time === false ? plain(at ?? null) : moment(at)) },
        ...lines.map((each) => ({
          label: each.label,
          stroke: stroke(each.stroke),
          width: 2,
          dash: each.dash,
          points: { show: each.points === true, size: 6 },
          value: (u, value) => chart.value(value ?? null),
        })),
      ],
      bands: chart.band ? [{ series: [2, 1], fill: color("--accent-soft") }] : [],
    };
    const plot = new uPlot(options, data, node);
    newest(plot);
    drawn.set(name, plot);
  }
}

function newest(plot) {
  const idx = plot.cursor.idx;
  if (idx === null || idx === undefined) plot.setLegend({ idx: plot.data[0].length - 1 });
}

async function fetchSeries() {
  try {
    const response = await fetch(`${base}/loop/series?hours=${hours}`, { headers: { accept: "application/json" } });
    if (!response.ok) return;
    told = await response.json();
    draw();
  } catch {
    // the console is away; the live part says so, and the next try is soon
  }
}

for (const button of document.querySelectorAll("[data-hours]")) {
  button.addEventListener("click", () => {
    hours = button.dataset.hours;
    for (const each of document.querySelectorAll("[data-hours]")) each.setAttribute("aria-pressed", String(each === button));
    fetchSeries();
  });
}

let resizing = 0;
addEventListener("resize", () => {
  clearTimeout(resizing);
  resizing = setTimeout(draw, 150);
});
dark.addEventListener("change", draw);
addEventListener("load", fetchSeries);
if (document.readyState === "complete") fetchSeries();
setInterval(fetchSeries, EVERY_MS);
