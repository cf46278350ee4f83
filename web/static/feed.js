// What is new, as it happens: a stream of events, and asking again and again while the server has no room for one.

import { address, read, Refused } from "./server.js";
import { write } from "./words.js";

const POLL_MS = 700;
const STREAM_AGAIN_MS = 8000;
const PATIENCE_MS = 3000;

/**
 * Follows events until `stop`.
 *
 * `stream(place)` and `poll(place)` are paths; the answer to the latter is {events: [{event, data}], place}. `tell(name,
 * data)` gets each event. What the reader should know of the connection is said in the element #feed-state.
 */
export class Feed {
  #names; #stream; #poll; #tell; #source = null; #timer = 0; #late = 0; #stopped = false; #place = "";

  constructor({ names, stream, poll, tell, place = "" }) {
    [this.#names, this.#stream, this.#poll, this.#tell, this.#place] = [names, stream, poll, tell, place];
    this.#open();
    // A page that is out of sight holds no thread of the server.
    document.addEventListener("visibilitychange", () => (document.hidden ? this.#close() : this.#open()));
    addEventListener("pagehide", () => this.#close());
    addEventListener("pageshow", () => this.#open());
  }

  stop() {
    this.#stopped = true;
    this.#close();
    this.#say("");
  }

  #say(text, bad = false) {
    const state = document.getElementById("feed-state");
    write(state, text);
    state.classList.toggle("bad", bad);
  }

  #close() {
    this.#source?.close();
    this.#source = null;
    clearTimeout(this.#timer);
    clearTimeout(this.#late);
  }

  #open() {
    if (this.#stopped || this.#source !== null || document.hidden) {
      return;
    }
    clearTimeout(this.#timer);
    const source = new EventSource(address(this.#stream(this.#place)));
    this.#source = source;
    const fine = () => {
      clearTimeout(this.#late);
      this.#say("");
    };
    source.onopen = fine;
    source.onerror = () => {
      if (source.readyState === EventSource.CLOSED) {
        this.#close();
        this.#ask(Date.now() + STREAM_AGAIN_MS);
      } else {
        // Each stream ends by itself soon; that one does not come again is what has to be said.
        clearTimeout(this.#late);
        this.#late = setTimeout(() => this.#say("The server does not answer. Trying again …", true), PATIENCE_MS);
      }
    };
    for (const name of this.#names) {
      source.addEventListener(name, (event) => {
        fine();
        this.#place = event.lastEventId;
        this.#tell(name, JSON.parse(event.data));
      });
    }
    source.addEventListener("trouble", (event) => this.#say(JSON.parse(event.data).error, true));
  }

  async #ask(until) {
    try {
      const answer = await read(this.#poll(this.#place));
      this.#place = answer.place;
      answer.events.forEach(({ event, data }) => this.#tell(event, data));
      this.#say("");
    } catch (error) {
      this.#say(error.message, true);
      if (error instanceof Refused && [401, 403, 404].includes(error.status)) {
        return;
      }
    }
    if (this.#stopped || document.hidden) {
      return;
    }
    this.#timer = setTimeout(() => (Date.now() > until ? this.#open() : this.#ask(until)), POLL_MS);
  }
}
