// The conversation as a list: what was said, what was heard of it, and what happened between.

import { length, make, seconds } from "./words.js";

const HIDDEN = new Set(["recording", "transcript", "tool"]);
const NAMES = { caller: "Caller", assistant: "Assistant" };

/** An event in words, and how bad it is. null: it is shown elsewhere. */
function told(event, sessionBefore) {
  switch (event.kind) {
    case "answered":
      return event.answer_ms === null ? null : [`Answered after ${seconds(event.answer_ms)}`, ""];
    case "interrupted":
      return [`Interrupted${event.silence_ms === null ? "" : `; silent after ${seconds(event.silence_ms)}`}`, "bad"];
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

function words(entry) {
  if (entry.withheld) {
    return [make("span", { class: "soft" }, "Not shown: the recording was paused")];
  }
  if (entry.failed) {
    return [make("span", { class: "soft" }, "Could not be transcribed")];
  }
  if (!entry.text) {
    return [make("span", { class: "soft" }, entry.speaker === "caller" ? "Speaking, or not transcribed" : "About to speak")];
  }
  if (entry.speaker === "assistant" && entry.text.startsWith(entry.heard_text) && entry.cut) {
    const unheard = entry.text.slice(entry.heard_text.length);
    return [entry.heard_text, make("span", { class: "unheard", title: "The caller did not hear this" }, unheard)];
  }
  return [entry.text];
}

function line(story, { entry, event }, sessionBefore, seek) {
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
  const turn = make("div", { class: "turn" }, make("b", {}, NAMES[entry.speaker]), make("span", {}, ...words(entry)));
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
    const interruptions = story.happened.filter((event) => event.kind === "interrupted");
    const shown = new Map();
    let sessions = 0;
    for (const each of story.lines) {
      const { entry, event } = each;
      if (event && HIDDEN.has(event.kind)) {
        continue;
      }
      if (entry) {
        // While it plays, the end of an answer is not unheard, but yet to come.
        const over = !story.call.live || interruptions.some(({ at }) => at >= (entry.told_at ?? 0));
        entry.cut = over && entry.heard_ms < entry.total_ms;
      }
      const key = entry ? `entry ${entry.id}` : `event ${event.id}`;
      const state = JSON.stringify([entry ?? event, entry?.tool ? story.toolEvents.get(entry.id) : sessions > 0, story.times[entry?.id]]);
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
      }
    }
  }
}
