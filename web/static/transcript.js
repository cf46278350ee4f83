// The conversation as the server tells it: what was said, what was heard of it, and how long one waited.

const PARTS = { vad_ms: "turn detection", model_ms: "model", us_ms: "server", twilio_ms: "line" };

const NO_BREAK = "\u00a0";

/** Not below zero: a part of a latency that is measured as a difference may be, by some ms. */
const seconds = (ms) => `${(Math.max(ms, 0) / 1000).toFixed(2)}${NO_BREAK}s`;

/** An element with that class and these children. */
function element(tag, name, ...children) {
  const made = document.createElement(tag);
  made.className = name;
  made.append(...children);
  return made;
}

export class Transcript {
  #list;
  #window; // what scrolls
  #following = true; // the end, as long as nobody scrolls up
  #shown = [];

  constructor(list) {
    this.#list = list;
    this.#window = list.parentElement;
    this.#window.addEventListener("scroll", () => {
      const { scrollHeight, scrollTop, clientHeight } = this.#window;
      this.#following = scrollHeight - scrollTop - clientHeight < 40;
    });
  }

  clear() {
    this.#shown = [];
    this.#list.replaceChildren();
  }

  /** Shows the story; what has not changed is left alone, so that it can be read and copied. */
  show(told, over) {
    const items = folded(told);
    items.forEach((item, index) => {
      const fate = fateOf(items, index, over);
      const key = JSON.stringify([item, fate]);
      if (this.#shown[index] !== key) {
        const made = item.speaker ? entry(item, fate) : element("li", "happening", summary(item));
        this.#list.children[index] ? this.#list.children[index].replaceWith(made) : this.#list.append(made);
        this.#shown[index] = key;
      }
    });
    while (this.#list.children.length > items.length) {
      this.#list.lastChild.remove();
      this.#shown.pop();
    }
    if (this.#following) {
      this.#window.scrollTop = this.#window.scrollHeight;
    }
  }
}

/** The story with each latency at what the assistant said: an answer's where it begins, an interruption's where it ends. */
function folded(told) {
  const items = told.map((each) => ({ ...each }));
  const isSaid = (item) => item.speaker === "assistant";
  for (const [index, item] of items.entries()) {
    const before = items.slice(0, index).findLast(isSaid);
    if (item.event === "interrupted" && before) {
      before.interrupted = item;
    } else if (item.event === "answered") {
      // Its text may be known a moment before it sounds, or after.
      const next = items.slice(index).find(isSaid);
      const answer = next && (!before || before.answered || next.at - item.at < item.at - before.at) ? next : before;
      if (answer) {
        answer.answered = item;
      }
    }
  }
  return items.filter(({ event }) => event !== "interrupted" && event !== "answered");
}

/** What became of what the assistant said: "heard", "coming" while it is said, "interrupted" or "cut off". */
function fateOf(items, index, over) {
  const { speaker, text, heard, heardMs, totalMs, interrupted } = items[index];
  if (speaker !== "assistant" || (heard === text && heardMs >= totalMs)) {
    return "heard";
  }
  if (interrupted) {
    return "interrupted";
  }
  return over || items.slice(index + 1).some((later) => later.speaker) ? "cut off" : "coming";
}

function entry(said, fate) {
  if (said.speaker === "tool") {
    return element("li", "happening", `The assistant uses ${said.name}${said.waiting ? " …" : ""}`);
  }
  const who = said.speaker === "caller" ? "You" : "Assistant";
  const item = element("li", `said ${said.speaker}`);
  item.append(element("p", "who", who, " ", element("time", "number", clock(said.at))));
  if (said.answered) {
    item.append(latency("Answered after", said.answered, "answer_ms"));
  }
  item.append(element("p", "words", ...words(said, fate)));
  if (fate === "interrupted" || fate === "cut off") {
    const share = `${seconds(said.heardMs)} of ${seconds(said.totalMs)} were heard`;
    const cut = element("p", "cut", fate === "interrupted" ? "You interrupted here" : "Cut off here");
    cut.append(element("small", "number", share));
    item.append(cut);
    if (said.interrupted) {
      item.append(latency("Silent after", said.interrupted, "silence_ms"));
    }
  }
  return item;
}

/** How long it took, and of what that is made. */
function latency(words, told, total) {
  const parts = Object.entries(PARTS)
    .filter(([name]) => typeof told[name] === "number")
    .map(([name, label]) => `${label.replace(" ", NO_BREAK)}${NO_BREAK}${seconds(told[name])}`);
  const head = typeof told[total] === "number" ? `${words} ${seconds(told[total])}` : words;
  return element("p", "latency number", element("strong", "", head), " ", parts.join(" · "));
}

function words({ speaker, text, heard, failed }, fate) {
  if (!text) {
    return [element("em", "", failed ? "not understood" : speaker === "caller" ? "not transcribed" : "…")];
  }
  const rest = text.slice(heard.length);
  if (!rest) {
    return [text];
  }
  if (fate === "coming") {
    return [heard, element("span", "coming", rest)];
  }
  const unheard = element("span", "unheard", element("span", "visually-hidden", " (not heard:) "), rest);
  return [heard, unheard];
}

function summary({ event, name, seconds: lasted, failed }) {
  switch (event) {
    case "tool":
      return `${name} ${failed ? "failed" : "answered"} after ${seconds(lasted * 1000)}`;
    case "session lost":
      return "The model's session was lost, and another one takes over";
    case "filler":
      return "Said to bridge the silence";
    case "apology":
      return "Apologised for the silence";
    default:
      return event[0].toUpperCase() + event.slice(1);
  }
}

/** Seconds as minutes and seconds. */
export function clock(at) {
  const whole = Math.max(Math.floor(at ?? 0), 0);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

/** The figures of the whole call, as far as it goes: times in words, null where there is none yet. */
export function figures(told) {
  const times = (event, name) => told.filter((each) => each.event === event && typeof each[name] === "number").map((each) => each[name]);
  const [answers, silences] = [times("answered", "answer_ms"), times("interrupted", "silence_ms")];
  const middle = answers.toSorted((a, b) => a - b)[Math.floor(answers.length / 2)];
  return [answers.at(-1), middle, silences.at(-1)].map((ms) => (ms === undefined ? null : seconds(ms)));
}
