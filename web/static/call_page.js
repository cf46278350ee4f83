// One call: live, as it happens, or past, with its recording.

import { Conversation } from "./conversation.js";
import { Feed } from "./feed.js";
import { Listening } from "./listen.js";
import { Player } from "./player.js";
import { address, post, read } from "./server.js";
import { Story } from "./story.js";
import { Timeline } from "./timeline.js";
import { cost, date, isBad, length, make, outcome, plural, seconds, write } from "./words.js";

const LIVE_PX_PER_SECOND = 22;
const KEPT_PIECES = 400; // of half a second: three minutes
const SLACK_SECONDS = 0.05; // an element that plays goes to about where it is told to go
const FRAMES_MS = 200;

const find = (id) => document.getElementById(id);
const page = find("call");
const path = `/console/calls/${page.dataset.callSid}`;
const full = find("console").dataset.full;
const also = full ? "&full=1" : "";

const story = new Story();
const conversation = new Conversation(find("conversation"), find("nothing-said"));
let player = null;
let offset = 0;
let drawTimer = 0;

const timeline = new Timeline(find("timeline"), { seek: (at) => player?.seek(at) });
const now = () => Date.now() / 1000 + offset;
const nowShown = () => (story.call.live ? now() : (story.call.ended_at ?? lastKnown()));

function lastKnown() {
  return Math.max(story.call.began_at + 1, ...story.happened.map((event) => event.at), ...story.said.map((entry) => story.heard(entry)[1]));
}

function complain(text) {
  find("problem").hidden = !text;
  write(find("problem"), text);
}

function showFacts() {
  const { call, facts } = story;
  write(find("fact-time"), length(nowShown() - call.began_at));
  write(find("fact-turns"), String(story.turns));
  write(find("fact-answer"), seconds(facts.answer));
  for (const name of ["interruptions", "silences", "reconnects"]) {
    write(find(`fact-${name}`), String(facts[name]));
  }
  find("fact-reconnects").classList.toggle("bad", facts.reconnects > 0);
  find("fact-silences").classList.toggle("bad", facts.silences > 0);
  write(find("fact-cost"), cost(call.cost));
}

function showState() {
  const { call } = story;
  write(find("from"), call.from || "unknown");
  write(find("to"), call.to || "unknown");
  write(find("began"), date(call.began_at));
  find("began").dateTime = new Date(call.began_at * 1000).toISOString();
  const state = find("state");
  write(state, call.live ? "In progress" : outcome(call.outcome));
  state.className = `badge big ${call.live ? "live" : isBad(call.outcome) ? "bad" : ""}`;
  find("actions").hidden = find("listen").hidden = !call.live;
  find("downloads").hidden = call.live;
}

function draw() {
  const { call } = story;
  if (!call) {
    return;
  }
  timeline.origin = call.began_at;
  timeline.blocks = story.blocks;
  timeline.tools = story.tools(now());
  timeline.silences = story.silences;
  timeline.marks = story.marks;
  if (call.live) {
    timeline.to = now();
    timeline.from = timeline.to - timeline.width / LIVE_PX_PER_SECOND;
  } else {
    const ends = timeline.pieces.map((piece) => piece.at + piece.caller.length * piece.step);
    timeline.from = Math.min(call.began_at, ...timeline.pieces.map((piece) => piece.at));
    timeline.to = Math.max(lastKnown(), call.ended_at ?? 0, ...ends) + 0.2;
  }
  timeline.draw();
}

function show() {
  showState();
  showFacts();
  conversation.show(story);
  draw();
}

function tell(name, data) {
  if (name === "gone") {
    feed.stop();
    complain("This call was erased.");
    return;
  }
  if (name === "levels") {
    timeline.pieces.push(...data.pieces.map((piece) => ({ at: piece.began_at, step: 0.1, caller: piece.caller, assistant: piece.assistant })));
    timeline.pieces.splice(0, timeline.pieces.length - KEPT_PIECES);
    return;
  }
  offset = data.now - Date.now() / 1000;
  const differs = story.learn(data);
  if (differs) {
    reload();
  }
  show();
  if (!data.call.live) {
    end();
  }
}

async function reload() {
  try {
    const known = await read(`${path}.json?${also}`);
    story.entries.clear();
    story.learn(known);
    story.times = known.times;
    show();
    return known;
  } catch (error) {
    complain(error.message);
    return null;
  }
}

/** The call is over: its recording is there now, and nothing more comes. */
async function end() {
  feed?.stop();
  clearInterval(drawTimer);
  listening.stop();
  const known = await reload();
  if (known) {
    await showRecordings(known.recordings);
  }
}

async function showRecordings(recordings) {
  if (!recordings.length) {
    write(find("recording-state"), "There is no recording of this call.");
    timeline.pieces = [];
    draw();
    return;
  }
  find("download-list").prepend(...recordings.map(({ which, seconds: lasts }) => make("li", {}, make(
    "a", { class: "button", download: true, href: address(`${path}/recordings/${which}.wav?download=1`) },
    `Recording${recordings.length > 1 ? ` ${which}` : ""} (WAV, ${length(lasts)})`,
  ))));
  find("player").hidden = false;
  write(find("recording-state"), "Loading the recording …");
  const fetched = new Player(recordings, story.call.began_at, (at) => {
    timeline.cursor(at);
    const heard = timeline.blocks.filter((block) => block.from <= at + SLACK_SECONDS && at < block.heardTo).at(-1);
    conversation.mark(heard?.id ?? null);
  });
  try {
    timeline.pieces = await fetched.load(path);
    player = fetched;
    find("timeline").classList.add("seekable");
    conversation.playable((at) => player.seek(at));
    conversation.show(story);
    draw();
    player.seek(story.call.began_at);
    write(find("recording-state"), "");
  } catch (error) {
    find("player").hidden = true;
    write(find("recording-state"), error.message);
  }
}

// Listening

const listening = new Listening(`${path}/audio`, (message) => {
  showListening();
  complain(message);
});

function showListening() {
  find("listen").setAttribute("aria-pressed", String(listening.on));
  write(find("listen-text"), listening.on ? "Stop listening" : "Listen live");
  find("listen-level").style.setProperty("--level", "0");
}

find("listen").addEventListener("click", async () => {
  complain("");
  if (listening.on) {
    listening.stop();
  } else {
    await listening.start();
  }
  showListening();
});

setInterval(() => {
  if (listening.on) {
    find("listen-level").style.setProperty("--level", listening.level.toFixed(0));
  }
}, 100);

// What can be done in the call

function done(text, bad = false) {
  write(find("done"), text);
  find("done").classList.toggle("bad", bad);
}

async function order(action, fields) {
  try {
    done((await post(`${path}/${action}`, fields)).done);
    return true;
  } catch (error) {
    done(error.message, true);
    return false;
  }
}

for (const form of document.querySelectorAll("form.action")) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const fields = Object.fromEntries(new FormData(form));
    const button = form.querySelector("button");
    button.disabled = true;
    if (await order(form.dataset.action, { ...fields, respond: fields.respond === "on" })) {
      form.reset();
    }
    button.disabled = false;
  });
}

find("hang-up").addEventListener("click", () => find("hang-up-dialog").showModal());
find("hang-up-dialog").addEventListener("close", ({ target }) => {
  if (["goodbye", "now"].includes(target.returnValue)) {
    order("hang-up", { goodbye: target.returnValue === "goodbye" });
  }
  target.returnValue = "";
});

// Begin

let feed = null;
const known = await reload();
if (known) {
  offset = known.now - Date.now() / 1000;
  if (known.call.live) {
    feed = new Feed({
      names: ["news", "levels", "gone"],
      stream: (place) => `${path}/events?place=${encodeURIComponent(place)}${also}`,
      poll: (place) => `${path}/news.json?place=${encodeURIComponent(place)}${also}`,
      place: known.place,
      tell,
    });
    drawTimer = setInterval(() => {
      if (!document.hidden) {
        draw();
        showFacts();
      }
    }, FRAMES_MS);
  } else {
    await showRecordings(known.recordings);
  }
}
