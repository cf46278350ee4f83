// The system in numbers: asked for again while the page is looked at.

import { chart } from "./chart.js";
import { read } from "./server.js";
import { cost, isBad, length, make, outcome, plural, seconds, write } from "./words.js";

const AGAIN_MS = 10_000;
const TROUBLE = {
  "session lost": ["Model sessions lost", "bad"],
  "listener failed": ["Listeners failed", "bad"],
  "recording failed": ["Recordings failed", "bad"],
  filler: ["Fillers in dead air", "warn"],
  apology: ["Apologies in dead air", "warn"],
};

const find = (id) => document.getElementById(id);
const HOUR = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const DAY = new Intl.DateTimeFormat(undefined, { weekday: "short", hour: "2-digit" });
let span = "day";
let timer = 0;

function bars(list, rows, nothing) {
  const most = Math.max(...rows.map(([, count]) => count), 1);
  list.replaceChildren(...rows.map(([name, count, tone]) => {
    const fill = make("span", { class: "fill" });
    fill.style.width = `${(100 * count) / most}%`;
    return make("li", { class: tone }, make("span", {}, name), make("span", { class: "track" }, fill), make("span", { class: "number right" }, String(count)));
  }), ...(rows.length ? [] : [make("li", {}, nothing)]));
}

function percentiles(figures) {
  const rows = [["Answer", figures.answer], ["Silent after barge-in", figures.silence], ["Longest silence of a call", figures.longest_silence]];
  const ms = (value) => (value === null ? "–" : String(Math.round(value)));
  find("percentiles").replaceChildren(...rows.map(([name, spread]) => make(
    "tr", {}, make("th", { scope: "row" }, name),
    ...[spread.p50, spread.p90, spread.p95, spread.p99, spread.most].map((value) => make("td", { class: "right" }, ms(value))),
    make("td", { class: "right" }, String(spread.count)),
  )));
}

function show(figures) {
  const troubled = figures.outcomes.filter(([name]) => isBad(name)).reduce((sum, [, count]) => sum + count, 0);
  write(find("fact-calls"), String(figures.calls));
  write(find("fact-talk"), length(figures.talk_seconds));
  write(find("fact-answer"), seconds(figures.answer.p50));
  write(find("fact-answer95"), seconds(figures.answer.p95));
  write(find("fact-silence"), seconds(figures.silence.p50));
  write(find("fact-trouble"), String(troubled));
  find("fact-trouble").classList.toggle("bad", troubled > 0);
  write(find("fact-cost"), cost(figures.cost));
  find("partial").hidden = !figures.partial;

  const label = (at) => (span === "week" ? DAY : HOUR).format(new Date(at * 1000));
  chart(find("calls-chart"), {
    kind: "bars", name: "Calls", format: (value) => (Number.isInteger(value) ? String(value) : ""),
    points: figures.slices.map(({ at, calls }) => ({ label: label(at), title: `${label(at)}: ${plural(calls, "call")}`, values: [calls] })),
  });
  chart(find("answer-chart"), {
    kind: "lines", name: "Time to the answer, median and 95 %", format: (value) => `${(value / 1000).toFixed(1)} s`,
    points: figures.slices.map(({ at, answer }) => ({
      label: label(at), title: `${label(at)}: median ${seconds(answer.p50)}, 95 % ${seconds(answer.p95)}`, values: [answer.p50, answer.p95],
    })),
  });
  chart(find("cost-chart"), {
    kind: "bars", name: "Cost a day", format: (value) => (value >= 10 ? value.toFixed(0) : value.toPrecision(2)),
    points: figures.days.map(([day, spent]) => ({ label: day.slice(8), title: `${day}: ${cost(spent)}`, values: [spent] })),
  });
  percentiles(figures);
  bars(find("outcomes"), figures.outcomes.map(([name, count]) => [name ? outcome(name) : "Not ended", count, isBad(name) ? "bad" : ""]), "No calls.");
  bars(find("trouble"), figures.trouble.map(([kind, count]) => [TROUBLE[kind][0], count, TROUBLE[kind][1]]), "");
  find("reasons-title").hidden = !figures.reasons.length;
  find("reasons").replaceChildren(...figures.reasons.map(([reason, count]) => make("li", {}, make("span", {}, reason), make("span", { class: "number" }, `${count}×`))));
  find("no-tools").hidden = figures.tools.length > 0;
  find("tools-table").hidden = !figures.tools.length;
  find("tools").replaceChildren(...figures.tools.map(([name, runs, failed, median]) => make(
    "tr", {}, make("th", { scope: "row" }, name), make("td", { class: "right" }, String(runs)),
    make("td", { class: "right" }, String(failed)), make("td", { class: "right" }, seconds(median * 1000)),
  )));
}

async function look() {
  clearTimeout(timer);
  const asked = span;
  try {
    const figures = await read(`/console/system.json?span=${asked}`);
    if (asked !== span) {
      return;
    }
    show(figures);
    find("problem").hidden = true;
  } catch (error) {
    find("problem").hidden = false;
    write(find("problem"), error.message);
  }
  timer = setTimeout(() => document.hidden || look(), AGAIN_MS);
}

for (const button of document.querySelectorAll("[data-span]")) {
  button.addEventListener("click", () => {
    span = button.dataset.span;
    document.querySelectorAll("[data-span]").forEach((each) => each.setAttribute("aria-pressed", String(each === button)));
    look();
  });
}
document.addEventListener("visibilitychange", () => document.hidden || look());
look();
