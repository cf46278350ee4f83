// What Twilio does with the audio of a media stream: plays it in the order of its arrival, echoes a mark when the play
// head passes it, at once if nothing is queued before it, and at a clear throws away what is not played and echoes
// every mark that waits. See simulator/playout.py.

import { decode } from "./mulaw.js";

export class Playout {
  #chunks = [];
  #offset = 0; // bytes of the first chunk that are played
  #head = 0; // bytes played or thrown away
  #tail = 0; // bytes queued so far
  #marks = [];
  #echo;

  /** `echo` is told the name of a mark when it is due. */
  constructor(echo) {
    this.#echo = echo;
  }

  /** How many bytes wait to be played. */
  get pending() {
    return this.#tail - this.#head;
  }

  put(bytes) {
    if (bytes.length) {
      this.#chunks.push(bytes);
      this.#tail += bytes.length;
    }
  }

  mark(name) {
    this.#marks.push({ name, at: this.#tail });
    this.#echoDue();
  }

  clear() {
    this.#chunks = [];
    this.#offset = 0;
    this.#head = this.#tail;
    this.#echoDue();
  }

  /** The stream is over: nothing more is played, and nothing echoed. */
  end() {
    this.#marks = [];
    this.clear();
  }

  /** Plays so many samples, from -1 to 1; silence where there are none. */
  play(count) {
    const samples = new Float32Array(count);
    for (let filled = 0; filled < count && this.#chunks.length; ) {
      const chunk = this.#chunks[0];
      const end = Math.min(count - filled, chunk.length - this.#offset);
      for (let index = 0; index < end; index++) {
        samples[filled + index] = decode(chunk[this.#offset + index]) / 32768;
      }
      filled += end;
      this.#offset += end;
      this.#head += end;
      if (this.#offset === chunk.length) {
        this.#chunks.shift();
        this.#offset = 0;
      }
    }
    this.#echoDue();
    return samples;
  }

  #echoDue() {
    while (this.#marks.length && this.#marks[0].at <= this.#head) {
      this.#echo(this.#marks.shift().name);
    }
  }
}
