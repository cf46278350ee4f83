// Past calls. What was searched for stays when one comes back from a call; a number is not put into the address.

import { address, read } from "./server.js";
import { cost, date, isBad, length, make, outcome, seconds, write } from "./words.js";

const KEY = "switchboard-past-calls";
const full = document.getElementById("console").dataset.full;
const form = document.getElementById("filters");
const [rows, more, problem] = ["rows", "more", "problem"].map((id) => document.getElementById(id));
let after = null;
let search = 0;

const midnight = (day, later = 0) => {
  const [year, month, date] = day.split("-").map(Number);
  return new Date(year, month - 1, date + later).getTime() / 1000;
};

function query() {
  const { number, from, to, outcome } = Object.fromEntries(new FormData(form));
  const parameters = new URLSearchParams({ number, outcome });
  if (from) {
    parameters.set("since", midnight(from));
  }
  if (to) {
    parameters.set("until", midnight(to, 1));
  }
  if (full) {
    parameters.set("full", "1");
  }
  return parameters;
}

function row(call) {
  const cell = (text, label, kind = "right") => make("td", { class: kind, "data-label": label }, text);
  const link = make("a", { href: address(`/console/calls/${call.call_sid}${full ? "?full=1" : ""}`) }, date(call.began_at));
  const bad = isBad(call.outcome) || (!call.outcome && !call.live);
  const badge = make("span", { class: `badge ${call.live ? "live" : bad ? "bad" : ""}` }, call.live ? "In progress" : outcome(call.outcome));
  return make(
    "tr", {}, make("td", {}, link), cell(call.from || "unknown", "from", ""), cell(call.to || "unknown", "to", ""), make("td", {}, badge),
    cell(call.seconds === null ? "–" : length(call.seconds), "lasted"), cell(String(call.turns), "turns"),
    cell(seconds(call.answer_ms), "answer"), cell(cost(call.cost), "cost"),
  );
}

async function show(from = null) {
  const mine = (search += 1);
  const parameters = query();
  if (from) {
    parameters.set("after", from);
  }
  more.disabled = true;
  try {
    const found = await read(`/console/calls.json?${parameters}`);
    if (mine !== search) {
      return;
    }
    const shown = found.calls.map(row);
    if (from) {
      rows.append(...shown);
      shown[0]?.querySelector("a").focus();
    } else {
      rows.replaceChildren(...shown);
    }
    after = found.after;
    problem.hidden = true;
  } catch (error) {
    problem.hidden = false;
    write(problem, error.message);
  }
  more.hidden = after === null;
  more.disabled = false;
  const none = rows.children.length === 0;
  document.getElementById("results").hidden = none;
  document.getElementById("empty").hidden = !none || !problem.hidden;
  const asked = [...new FormData(form).values()].some(Boolean);
  write(document.getElementById("empty-title"), asked ? "No call fits" : "No calls yet");
  write(document.getElementById("empty-text"), asked ? "Look for less of the number, a longer time, or any outcome." : "Calls are listed here from their beginning on.");
}

function remember() {
  try {
    sessionStorage.setItem(KEY, JSON.stringify(Object.fromEntries(new FormData(form))));
  } catch {
    // storage is forbidden in this browser: the search begins anew
  }
}

function recall() {
  try {
    for (const [name, value] of Object.entries(JSON.parse(sessionStorage.getItem(KEY) ?? "{}"))) {
      form.elements[name].value = value;
    }
  } catch {
    // nothing was searched for yet
  }
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  remember();
  show();
});
form.addEventListener("reset", () => setTimeout(() => {
  remember();
  show();
}));
more.addEventListener("click", () => show(after));

recall();
show();
