// Listening to a call that goes on: pieces of both voices, fetched as they come and played one behind the other.

import { decode } from "./mulaw.js";
import { address } from "./server.js";

const SAMPLE_RATE = 8000;
const FETCH_MS = 350;
const AHEAD_SECONDS = 0.7; // so much is kept in hand, because pieces come half a second at a time
const BEHIND_SECONDS = 4; // more than that is left out: live is not long ago

export class Listening {
  #path; #failed; #context = null; #meter = null; #next = 0; #after = 0; #timer = 0;

  /** `failed(message)` is told when it ends by itself. */
  constructor(path, failed) {
    [this.#path, this.#failed] = [path, failed];
  }

  get on() {
    return this.#context !== null;
  }

  /** How loud it is just now, 0 to 100. */
  get level() {
    if (!this.#meter) {
      return 0;
    }
    const samples = new Float32Array(this.#meter.fftSize);
    this.#meter.getFloatTimeDomainData(samples);
    return 100 * Math.sqrt(Math.max(...samples.map(Math.abs)));
  }

  async start() {
    const context = new AudioContext();
    this.#context = context;
    this.#meter = new AnalyserNode(context, { fftSize: 2048 });
    this.#meter.connect(context.destination);
    [this.#next, this.#after] = [0, 0];
    await context.resume();
    this.#fetch(context);
  }

  stop() {
    clearTimeout(this.#timer);
    this.#context?.close();
    this.#context = this.#meter = null;
  }

  async #fetch(context) {
    try {
      const response = await fetch(address(`${this.#path}?after=${this.#after}`));
      if (!response.ok) {
        const answer = await response.json().catch(() => ({}));
        throw new Error(answer.error ?? "The server refused this.");
      }
      const bytes = new Uint8Array(await response.arrayBuffer());
      const number = Number(response.headers.get("X-Number"));
      if (this.#context !== context) {
        return;
      }
      if (bytes.length) {
        this.#play(bytes);
      }
      this.#after = number;
    } catch (error) {
      if (this.#context === context) {
        this.stop();
        this.#failed(error instanceof TypeError ? "The server does not answer." : error.message);
      }
      return;
    }
    this.#timer = setTimeout(() => this.#fetch(context), FETCH_MS);
  }

  #play(all) {
    const bytes = all.subarray(-2 * SAMPLE_RATE * BEHIND_SECONDS);
    const buffer = new AudioBuffer({ numberOfChannels: 2, length: bytes.length / 2, sampleRate: SAMPLE_RATE });
    for (const track of [0, 1]) {
      const samples = buffer.getChannelData(track);
      for (let index = 0; index < samples.length; index += 1) {
        samples[index] = decode(bytes[2 * index + track]) / 32768;
      }
    }
    const now = this.#context.currentTime;
    if (this.#next > now + BEHIND_SECONDS) {
      return; // not beside what plays until then
    }
    if (this.#next < now) {
      this.#next = now + AHEAD_SECONDS;
    }
    const node = new AudioBufferSourceNode(this.#context, { buffer });
    node.connect(this.#meter);
    node.start(this.#next);
    this.#next += buffer.duration;
  }
}
