// A recording: fetched as a whole, shown as levels, and played in step with the timeline and the conversation.

import { address } from "./server.js";
import { levels } from "./levels.js";
import { length, write } from "./words.js";

const HEADER_BYTES = 58; // see wire/wav.py
const LEVEL_SECONDS = 0.05;

export class Player {
  #recordings; #beganAt; #audio = new Audio(); #loaded = []; #current = 0; #moved;
  #play = document.getElementById("play");
  #seek = document.getElementById("seek");
  #position = document.getElementById("position");

  /** `moved(at)`: what is heard is of that moment now, in seconds since 1970. */
  constructor(recordings, callBeganAt, moved) {
    [this.#recordings, this.#beganAt, this.#moved] = [recordings, callBeganAt, moved];
  }

  /** Fetches them. Returns the levels for the timeline. Throws an Error in words. */
  async load(path) {
    for (const { which, began_at: beganAt } of this.#recordings) {
      const response = await fetch(address(`${path}/recordings/${which}.wav`)).catch(() => null);
      if (!response?.ok) {
        throw new Error(response ? "The recording is not there any more." : "The server does not answer.");
      }
      const bytes = await response.arrayBuffer();
      const samples = new Uint8Array(bytes, Math.min(HEADER_BYTES, bytes.byteLength));
      this.#loaded.push({
        at: beganAt ?? this.#beganAt,
        seconds: samples.length / 16000,
        url: URL.createObjectURL(new Blob([bytes], { type: "audio/wav" })),
        samples,
      });
    }
    this.#wire();
    this.#choose(0);
    return this.#loaded.map(({ at, samples }) => ({
      at, step: LEVEL_SECONDS,
      caller: levels(samples, 0, 2, 8000 * LEVEL_SECONDS), assistant: levels(samples, 1, 2, 8000 * LEVEL_SECONDS),
    }));
  }

  /** Goes on from that moment. */
  seek(at) {
    const index = Math.max(this.#loaded.findLastIndex((each) => each.at <= at), 0);
    this.#choose(index);
    this.#audio.currentTime = Math.min(Math.max(at - this.#loaded[index].at, 0), this.#loaded[index].seconds);
    this.#tell();
  }

  #choose(index) {
    if (this.#audio.src === this.#loaded[index].url) {
      return;
    }
    const playing = !this.#audio.paused;
    this.#current = index;
    this.#audio.src = this.#loaded[index].url;
    this.#audio.playbackRate = Number(document.getElementById("rate").value);
    if (playing) {
      this.#audio.play();
    }
  }

  #wire() {
    const audio = this.#audio;
    const last = this.#loaded.at(-1);
    this.#seek.max = String(last.at + last.seconds - this.#loaded[0].at);
    this.#seek.disabled = false;
    this.#play.addEventListener("click", () => (audio.paused ? audio.play() : audio.pause()));
    this.#seek.addEventListener("input", () => this.seek(this.#loaded[0].at + Number(this.#seek.value)));
    document.getElementById("rate").addEventListener("change", (event) => {
      audio.defaultPlaybackRate = audio.playbackRate = Number(event.target.value);
    });
    audio.addEventListener("play", () => {
      write(this.#play, "Pause");
      this.#follow();
    });
    audio.addEventListener("pause", () => write(this.#play, "Play"));
    audio.addEventListener("ended", () => {
      if (this.#current + 1 < this.#loaded.length) {
        this.#choose(this.#current + 1);
        audio.play();
      }
    });
    audio.addEventListener("error", () => write(document.getElementById("recording-state"), "This browser cannot play the recording. It can be downloaded."));
    this.#tell();
  }

  #follow() {
    this.#tell();
    if (!this.#audio.paused) {
      requestAnimationFrame(() => this.#follow());
    }
  }

  #tell() {
    const at = this.#loaded[this.#current].at + this.#audio.currentTime;
    const since = at - this.#loaded[0].at;
    this.#seek.value = String(since);
    this.#seek.setAttribute("aria-valuetext", length(since));
    write(this.#position, `${length(since)} / ${length(Number(this.#seek.max))}`);
    this.#moved(at);
  }
}
