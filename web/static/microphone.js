// What the microphone hears, as a telephone sends it: 20 ms of mu-law at a time.

import { encode, SILENCE } from "./mulaw.js";
import { Resampler } from "./resampler.js";

export const SAMPLE_RATE = 8000;
export const FRAME_BYTES = 160;

export class Microphone {
  #resampler;
  #send;
  #frame = new Uint8Array(FRAME_BYTES);
  #filled = 0;
  #squares = 0;
  muted = false;

  /** `send` is told each frame, and how loud it is, from 0 to 1. */
  constructor(sampleRate, send) {
    this.#resampler = new Resampler(sampleRate, SAMPLE_RATE);
    this.#send = send;
  }

  /** Samples from -1 to 1, at the rate of the audio context. */
  hear(samples) {
    for (const sample of this.#resampler.push(samples)) {
      const clipped = Math.max(-1, Math.min(1, sample));
      this.#frame[this.#filled] = this.muted ? SILENCE : encode(Math.round(clipped * 32767));
      this.#squares += clipped * clipped;
      this.#filled += 1;
      if (this.#filled === FRAME_BYTES) {
        this.#send(this.#frame.slice(), this.muted ? 0 : Math.sqrt(this.#squares / FRAME_BYTES));
        this.#filled = 0;
        this.#squares = 0;
      }
    }
  }
}
