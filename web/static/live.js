// The calls in progress. A row stays where it is while it changes; new calls come below the others.

import { Feed } from "./feed.js";
import { address } from "./server.js";
import { cost, length, make, plural, seconds, write } from "./words.js";

const OVER_MS = 4000;
const QUIET_SECONDS = 60;

const full = document.getElementById("console").dataset.full;
const list = document.getElementById("calls");
const rows = new Map();
let offset = 0; // of the server's clock to this one's, in seconds

const now = () => Date.now() / 1000 + offset;

class Row {
  constructor(callSid) {
    const part = (name) => (this[name] = make("span", { class: name === "said" ? "last-said" : name }));
    this.number = make("strong", { class: "number" });
    this.assistant = make("small");
    const who = make("span", { class: "who" }, this.number, this.assistant);
    this.link = make(
      "a", { href: address(`/console/calls/${callSid}${full ? "?full=1" : ""}`) },
      who, part("said"), part("noticed"), part("turns"), part("answer"), part("cost"), part("time"),
    );
    for (const name of ["turns", "answer", "cost", "time"]) {
      this[name].classList.add("number", "right");
    }
    this.element = make("li", {}, this.link);
    this.endTimer = 0;
  }

  show(call) {
    this.call = call;
    clearTimeout(this.endTimer);
    this.element.classList.remove("over");
    write(this.number, `${call.from || "unknown"} → ${call.to || "unknown"}`);
    write(this.assistant, call.assistant || "–");
    write(this.turns, String(call.turns));
    write(this.answer, seconds(call.answer_ms));
    write(this.cost, cost(call.cost));
    this.#showSaid(call);
    this.tick();
  }

  #showSaid(call) {
    const last = call.last;
    this.said.className = `last-said ${last?.speaker ?? "soft"}`;
    this.said.classList.toggle("soft", !last || last.withheld);
    write(this.said, last ? (last.withheld ? "Not shown: the recording was paused" : last.text) : "Nothing said yet");
  }

  tick() {
    const call = this.call;
    write(this.time, length(now() - call.began_at));
    const quiet = now() - call.news_at;
    const noticed = [
      [call.paused, "warn", "recording paused"],
      [call.interruptions, "caller", plural(call.interruptions, "interruption")],
      [call.silences, "warn", `dead air ${call.silences}×`],
      [call.reconnects, "bad", plural(call.reconnects, "reconnect")],
      [call.failed_tools, "bad", plural(call.failed_tools, "failed tool")],
      [quiet > QUIET_SECONDS, "", `nothing new for ${length(quiet)}`],
    ].filter(([there]) => there);
    const shown = JSON.stringify(noticed);
    if (shown !== this.shownNoticed) {
      this.shownNoticed = shown;
      this.noticed.replaceChildren(...noticed.map(([, kind, text]) => make("span", { class: `badge ${kind}` }, text)));
    }
  }

  end(gone) {
    if (!this.element.classList.contains("over")) {
      this.element.classList.add("over");
      write(this.time, "ended");
      this.endTimer = setTimeout(gone, OVER_MS);
    }
  }
}

function tell(_, { calls, order, now: serverNow }) {
  offset = serverNow - Date.now() / 1000;
  const going = new Set(order);
  for (const call of [...calls].reverse()) {
    let row = rows.get(call.call_sid);
    if (!row) {
      row = new Row(call.call_sid);
      rows.set(call.call_sid, row);
      list.append(row.element);
    }
    row.show(call);
  }
  for (const [callSid, row] of rows) {
    if (!going.has(callSid)) {
      row.end(() => {
        row.element.remove();
        rows.delete(callSid);
        frame(rows.size);
      });
    }
  }
  write(document.getElementById("count"), order.length ? plural(order.length, "call") : "none");
  frame(rows.size);
}

function frame(shown) {
  document.getElementById("empty").hidden = shown > 0;
  document.getElementById("head").hidden = shown === 0;
}

setInterval(() => {
  for (const row of rows.values()) {
    if (!row.element.classList.contains("over")) {
      row.tick();
    }
  }
}, 1000);

const query = full ? "?full=1" : "";
new Feed({
  names: ["calls"],
  stream: () => `/console/live/events${query}`,
  poll: () => `/console/live.json${query}`,
  tell,
});
