// The page: its buttons and keys, and what it shows of the call.

import { Call } from "./call.js";
import { explain } from "./problems.js";
import { read } from "./server.js";
import { Transcript, clock, figures } from "./transcript.js";

const STORY_MS = 700;
/** What was said last is told a moment after the end. */
const STORIES_AFTER_END = 3;

const by = (id) => document.getElementById(id);
const phone = by("phone");
const [callButton, muteButton, processing] = [by("call"), by("mute"), by("processing")];
const keys = [...document.querySelectorAll("#keypad button")];
const transcript = new Transcript(by("transcript"));

let call = null;
let startedAt = null;
let following = 0; // the number of the call whose story is followed

const view = {
  state(name, words) {
    phone.dataset.state = name;
    by("status").textContent = words;
    const talking = name === "talking" || name === "resuming";
    by("choice")?.toggleAttribute("disabled", name !== "idle");
    [muteButton, ...keys].forEach((button) => (button.disabled = !talking));
    if (name === "talking" && startedAt === null) {
      startedAt = performance.now();
      follow(call);
    }
  },
  levels(said, heard) {
    show(by("said"), said);
    show(by("heard"), heard);
  },
  warn(words) {
    by("problem").textContent = words;
  },
  over(words, isProblem) {
    call = null;
    startedAt = null;
    view.state("idle", isProblem ? "No call." : words);
    by("problem").textContent = isProblem ? words : "";
    label(callButton, "Call", "primary");
    press(muteButton, false);
    view.levels(0, 0);
  },
};

callButton.addEventListener("click", () => {
  if (call) {
    return call.hangUp();
  }
  by("problem").textContent = "";
  by("timer").textContent = "0:00";
  transcript.clear();
  showFigures([]);
  label(callButton, "Hang up", "danger");
  call = new Call(view, by("choice")?.value ?? null);
  return call.place(processing.checked);
});

muteButton.addEventListener("click", () => {
  press(muteButton, muteButton.getAttribute("aria-pressed") !== "true");
  call?.mute(muteButton.getAttribute("aria-pressed") === "true");
});

by("choice")?.addEventListener("change", ({ target }) => {
  by("assistant").textContent = target.selectedOptions[0].textContent;
});

keys.forEach((key) => key.addEventListener("click", () => dial(key.value)));

document.addEventListener("keydown", (event) => {
  const plain = !event.ctrlKey && !event.metaKey && !event.altKey && !event.repeat;
  if (plain && call && /^[0-9*#]$/.test(event.key) && !event.target.matches("input, textarea, select")) {
    dial(event.key);
  }
});

addEventListener("pagehide", () => call?.hangUp());

setInterval(() => {
  if (startedAt !== null) {
    by("timer").textContent = clock((performance.now() - startedAt) / 1000);
  }
}, 250);

// On a small screen the conversation has the room.
by("keypad").open = matchMedia("(min-width: 56.01rem)").matches;

if (!window.isSecureContext) {
  view.warn(explain("insecure"));
}

function dial(digit) {
  const key = keys.find(({ value }) => value === digit);
  if (call && !key.disabled) {
    call.digit(digit);
    by("dialled").textContent = (by("dialled").textContent + digit).slice(-16);
    key.classList.add("pressed");
    setTimeout(() => key.classList.remove("pressed"), 150);
  }
}

/** Shows a call's story until it is over. */
async function follow(followed) {
  following += 1;
  const mine = following;
  by("dialled").textContent = "";
  for (let left = STORIES_AFTER_END; left > 0; ) {
    if (call !== followed) {
      left -= 1;
    }
    const story = await read(`/softphone/story?call=${followed.sid}`).catch(() => null);
    if (mine !== following) {
      return;
    }
    if (story) {
      by("assistant").textContent = story.assistant || by("assistant").textContent;
      by("empty").hidden = story.told.length > 0;
      transcript.show(story.told, call !== followed);
      showFigures(story.told);
    }
    await new Promise((resolve) => setTimeout(resolve, STORY_MS));
  }
}

function showFigures(told) {
  const shown = figures(told);
  ["last-answer", "median-answer", "last-silence"].forEach((id, index) => (by(id).textContent = shown[index] ?? "–"));
}

/** How loud it is, on a scale on which a voice is neither nothing nor all: 0 is below -54 dB. */
function show(meter, level) {
  const share = level > 0 ? Math.max(0, Math.min(1, 1 + (20 * Math.log10(level)) / 54)) : 0;
  meter.style.setProperty("--level", share.toFixed(2));
  meter.setAttribute("aria-valuenow", Math.round(share * 100));
}

function label(button, words, kind) {
  button.querySelector("span").textContent = words;
  button.classList.remove("primary", "danger");
  button.classList.add(kind);
}

function press(button, pressed) {
  button.setAttribute("aria-pressed", pressed);
  button.querySelector("span").textContent = pressed ? "Muted" : "Mute";
}
