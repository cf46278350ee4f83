// What is known of a call, put together: entries and events, by time, and what of them goes where on the timeline.

import { seconds } from "./words.js";

const LETTER_SECONDS = 0.065; // of speech, where nothing tells how long somebody spoke
const DEAD_AIR_SECONDS = 2;
const END_SECONDS = 1; // the last entries are told of when the call has ended already
const SLACK_SECONDS = 0.3; // entries are told of together, a little later than events

const count = (events, ...kinds) => events.filter((event) => kinds.includes(event.kind)).length;

export class Story {
  call = null; entries = new Map(); events = new Map(); times = {};

  /** What is new. Returns whether entries are missing here, or are here that are not there any more. */
  learn({ call, entries, events, count: all }) {
    this.call = call;
    entries.forEach((entry) => this.entries.set(entry.id, entry));
    events.forEach((event) => this.events.set(event.id, event));
    return this.entries.size !== all;
  }

  get said() {
    return [...this.entries.values()].sort((a, b) => a.position - b.position);
  }

  get happened() {
    return [...this.events.values()].sort((a, b) => a.id - b.id);
  }

  get turns() {
    return this.said.filter((entry) => entry.speaker === "caller").length;
  }

  get facts() {
    const events = this.happened;
    const answers = events.filter((event) => event.kind === "answered" && event.answer_ms !== null).map((event) => event.answer_ms);
    answers.sort((a, b) => a - b);
    return {
      answer: answers.length ? answers[Math.floor((answers.length - 1) / 2)] : null,
      interruptions: count(events, "interrupted"),
      silences: count(events, "filler", "apology"),
      reconnects: count(events, "session lost"),
    };
  }

  /** When an entry was heard: from and to. Known where there is a transcript, else as good as can be told. */
  heard(entry) {
    const known = this.times[entry.id];
    if (known) {
      const from = known[0];
      const ends = entry.speaker === "assistant" ? from + Math.max(entry.heard_ms, 300) / 1000 : from + 1;
      return [from, known[1] ?? ends];
    }
    const told = entry.told_at ?? this.call.began_at;
    if (entry.speaker === "assistant") {
      return [told, told + Math.max(entry.heard_ms, 300) / 1000];
    }
    if (entry.speaker === "caller") {
      const length = Math.min(Math.max(entry.text.length * LETTER_SECONDS, 0.6), 30);
      return [Math.max(told - length, this.call.began_at), told];
    }
    return [told, told];
  }

  /** Entries and events between them, in the order of the conversation: {entry} or {event}. */
  get lines() {
    const waiting = this.happened;
    const lines = [];
    for (const entry of this.said) {
      while (waiting.length && entry.told_at !== null && waiting[0].at + (waiting[0].kind === "ended" ? END_SECONDS : 0) <= entry.told_at) {
        lines.push({ event: waiting.shift() });
      }
      lines.push({ entry });
    }
    return [...lines, ...waiting.map((event) => ({ event }))];
  }

  get blocks() {
    return this.said.filter((entry) => entry.speaker !== "tool").map((entry) => {
      const [from, heardTo] = this.heard(entry);
      const unheard = entry.speaker === "assistant" && this.#cutOff(entry) ? (entry.total_ms - entry.heard_ms) / 1000 : 0;
      // What nobody heard took no time: it is only hinted at.
      return { id: entry.id, lane: entry.speaker, from, heardTo, to: heardTo + Math.min(Math.max(unheard, 0), 1.2), text: entry.text };
    });
  }

  #cutOff(entry) {
    return entry.heard_ms < entry.total_ms && this.cuts.has(entry.id);
  }

  /** By entry: the event that tells how long the caller waited for it. */
  get answers() {
    return this.#ofAssistant("answered");
  }

  /** By entry: the event that tells of its interruption. */
  get cuts() {
    return this.#ofAssistant("interrupted");
  }

  /** Events of that kind by the assistant's entry that they are about: the last one that was told before them. */
  #ofAssistant(kind) {
    const turns = this.said.filter((entry) => entry.speaker === "assistant" && entry.told_at !== null);
    const found = new Map();
    for (const event of this.happened.filter((each) => each.kind === kind)) {
      const turn = turns.findLast((entry) => entry.told_at <= event.at + SLACK_SECONDS && (kind !== "interrupted" || entry.heard_ms < entry.total_ms));
      if (turn) {
        found.set(turn.id, event);
      }
    }
    return found;
  }

  /** Of each tool's call, the event that tells how long it took, if it is over. */
  get toolEvents() {
    const found = new Map();
    const waiting = this.happened.filter((event) => event.kind === "tool");
    for (const entry of this.said.filter((each) => each.tool && each.tool.output !== null)) {
      const index = waiting.findIndex((event) => event.name === entry.tool.name);
      if (index >= 0) {
        found.set(entry.id, waiting.splice(index, 1)[0]);
      }
    }
    return found;
  }

  tools(now) {
    const done = this.toolEvents;
    return this.said.filter((entry) => entry.tool).map((entry) => {
      const event = done.get(entry.id);
      const to = event ? event.at : entry.tool.output === null && this.call.live ? now : (entry.told_at ?? now);
      const from = event ? event.at - event.seconds : (entry.told_at ?? to);
      return { from, to, label: `${entry.tool.name}${event ? ` ${seconds(event.seconds * 1000)}` : " …"}`, failed: event?.failed ?? false };
    });
  }

  get silences() {
    return this.happened.filter((event) => ["filler", "apology"].includes(event.kind)).map((event) => (
      { from: event.at - DEAD_AIR_SECONDS, to: event.at, label: event.kind === "filler" ? "dead air" : "apology" }
    ));
  }

  get marks() {
    return this.happened.flatMap((event) => {
      if (event.kind === "interrupted") {
        return [{ at: event.at, kind: "interruption", label: "The caller interrupted" }];
      }
      return event.kind === "session lost" ? [{ at: event.at, kind: "reconnect", label: "The model's session was lost" }] : [];
    });
  }
}
