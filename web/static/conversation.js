// The conversation as a list: what was said, what was heard of it, and what happened between.

import { length, make, plural, seconds } from "./words.js";

const HIDDEN = new Set(["recording", "transcript", "tool"]);
const OF_TURNS = new Set(["answered", "interrupted"]);
const NEAR_PX = 60;
const NAMES = { caller: "Caller", assistant: "Assistant" };

/** An event in words, and how bad it is. null: it is shown elsewhere. */
function told(event, sessionBefore) {
  switch (event.kind) {
    case "session ready":
      return [sessionBefore ? `The model is back (${event.endpoint})` : `Connected to the model (${event.endpoint})`, ""];
    case "session lost":
      return [`The model's session was lost: ${event.reason}`, "bad"];
    case "filler":
      return ["Dead air: a filler was played", "warn"];
    case "apology":
      return ["Dead air: an apology was played", "warn"];
    case "key pressed":
      return ["The caller pressed a key", ""];
    case "keys sent":
      return [`${plural(event.count, "key")} pressed for the caller`, ""];
    case "card mode began":
      return ["Card mode: the caller is not heard while entering a number", "warn"];
    case "card mode ended":
      return ["Card mode is over", ""];
    case "told to say something":
      return ["Told from outside to say something", ""];
    case "transfer":
      return [`Being connected with ${event.to}${event.warm ? ", who is told of the call first" : ""}`, ""];
    case "transfer accepted":
      return [`${event.to} takes the call`, ""];
    case "transfer failed":
      return [`The transfer to ${event.to} failed: ${event.reason}`, "bad"];
    case "does not leave":
      return [`Stays after all: ${event.reason}`, ""];
    case "reprompt":
      return ["The caller was silent, and asked whether anybody is there", "warn"];
    case "asks again":
      return ["The caller was asked to say again what may not have been heard", "warn"];
    case "answered by":
      return [`Answered by: ${event.verdict.replaceAll("_", " ")}`, ""];
    case "recording paused":
      return ["The recording was paused", "warn"];
    case "recording started":
      return ["The recording goes on", ""];
    case "recording stopped":
      return ["The recording was stopped", ""];
    case "recording failed":
      return [`The recording failed: ${event.reason}`, "bad"];
    case "listener failed":
      return [`A listener failed: ${event.reason}`, "bad"];
    case "ended":
      return [`Ended: ${event.reason}`, ""];
    default:
      return [otherwise(event), ""];
  }
}

function otherwise({ id, at, kind, ...data }) {
  const details = Object.entries(data).filter(([, value]) => value !== null).map(([name, value]) => `${name} ${value}`);
  return `${kind[0].toUpperCase()}${kind.slice(1)}${details.length ? `: ${details.join(", ")}` : ""}`;
}

function words(entry, speaking) {
  if (entry.withheld) {
    return [make("span", { class: "soft" }, "Not shown: the recording was paused")];
  }
  if (entry.failed) {
    return [make("span", { class: "soft" }, "Could not be transcribed")];
  }
  if (!entry.text) {
    const caller = entry.speaker === "caller";
    return [make("span", { class: "soft" }, speaking ? (caller ? "Speaking …" : "About to speak …") : caller ? "Not transcribed" : "Said nothing")];
  }
  if (entry.speaker === "assistant" && entry.text.startsWith(entry.heard_text) && entry.cut) {
    const unheard = entry.text.slice(entry.heard_text.length).trim();
    const count = unheard.split(/\s+/).length;
    const rest = make("details", { class: "unheard" }, make("summary", {}, `Not heard: ${plural(count, "word")}`), unheard);
    return [entry.heard_text, ...(unheard ? [rest] : [])];
  }
  return [entry.text];
}

function heading(entry, answer, cut) {
  const more = [];
  if (answer?.answer_ms) {
    more.push(make("span", { class: "meta number" }, `answered after ${seconds(answer.answer_ms)}`));
  }
  if (cut) {
    const silent = cut.silence_ms === null ? "" : `, silent after ${seconds(cut.silence_ms)}`;
    more.push(make("span", { class: "meta number bad" }, `interrupted${silent}`));
  }
  return make("b", {}, NAMES[entry.speaker], ...more.flatMap((each) => [" ", each]));
}

function line(story, { entry, event, answer, cut, speaking }, sessionBefore, seek) {
  const at = entry ? story.heard(entry)[0] : event.at;
  const time = length(at - story.call.began_at);
  const when = make("span", { class: "at number" });
  if (seek && entry && entry.speaker !== "tool") {
    const button = make("button", { type: "button", "aria-label": `Play from ${time}` }, time);
    button.addEventListener("click", () => seek(at));
    when.append(button);
  } else {
    when.append(time);
  }
  if (event) {
    const [text, tone] = told(event, sessionBefore) ?? [];
    return text ? make("li", { class: "event" }, when, make("span", { class: tone }, text)) : null;
  }
  if (entry.tool) {
    const done = story.toolEvents.get(entry.id);
    const state = done ? `${done.failed ? "failed after" : "took"} ${seconds(done.seconds * 1000)}` : entry.tool.output === null ? "runs" : "done";
    const turn = make(
      "div", { class: "turn" }, make("b", {}, `Tool ${entry.tool.name} · ${state}`),
      make("code", {}, entry.tool.arguments), entry.tool.output === null ? null : make("code", {}, `→ ${entry.tool.output}`),
    );
    return make("li", { class: "tool" }, when, turn);
  }
  const turn = make("div", { class: "turn" }, heading(entry, answer, cut), make("span", {}, ...words(entry, speaking)));
  return make("li", { class: entry.speaker, "data-entry": entry.id }, when, turn);
}

export class Conversation {
  #list; #nothing; #shown = new Map(); #seek = null;

  constructor(list, nothing) {
    [this.#list, this.#nothing] = [list, nothing];
  }

  /** From now on, lines can be played from. */
  playable(seek) {
    this.#seek = seek;
    this.#shown.clear();
  }

  show(story) {
    const { answers, cuts } = story;
    const lines = story.lines.filter(({ event }) => !event || !(HIDDEN.has(event.kind) || OF_TURNS.has(event.kind)));
    const last = lines.findLast(({ entry }) => entry)?.entry;
    const shown = new Map();
    const follows = this.#list.scrollHeight - this.#list.scrollTop - this.#list.clientHeight < NEAR_PX;
    let sessions = 0;
    for (const each of lines) {
      const { entry, event } = each;
      if (entry) {
        each.answer = answers.get(entry.id);
        each.cut = cuts.get(entry.id);
        each.speaking = story.call.live && entry === last;
        // While it plays, the end of an answer is not unheard, but yet to come.
        entry.cut = (each.cut || !each.speaking) && entry.heard_ms < entry.total_ms;
      }
      const key = entry ? `entry ${entry.id}` : `event ${event.id}`;
      const state = JSON.stringify([each, entry?.tool ? story.toolEvents.get(entry.id) : sessions > 0, story.times[entry?.id]]);
      const before = this.#shown.get(key);
      const element = before?.state === state ? before.element : line(story, each, sessions > 0, this.#seek);
      sessions += event?.kind === "session ready" ? 1 : 0;
      if (element) {
        shown.set(key, { state, element });
      }
    }
    this.#shown = shown;
    this.#place([...shown.values()].map(({ element }) => element));
    this.#nothing.hidden = shown.size > 0;
    if (follows && story.call.live) {
      this.#list.scrollTop = this.#list.scrollHeight;
    }
  }

  /** Only what is new, or elsewhere now, is touched. */
  #place(elements) {
    const wanted = new Set(elements);
    [...this.#list.children].filter((child) => !wanted.has(child)).forEach((child) => child.remove());
    elements.forEach((element, index) => {
      if (this.#list.children[index] !== element) {
        this.#list.insertBefore(element, this.#list.children[index] ?? null);
      }
    });
  }

  /** Marks what is being heard. */
  mark(id) {
    for (const child of this.#list.children) {
      const now = id !== null && child.dataset.entry === id;
      if (child.classList.contains("now") !== now) {
        child.classList.toggle("now", now);
        if (now) {
          // Not with scrollIntoView, which would move the page as well.
          this.#list.scrollTop = child.offsetTop - this.#list.offsetTop - this.#list.clientHeight / 3;
        }
      }
    }
  }
}
