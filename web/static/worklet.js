// The audio thread's side of a call: the microphone's samples become frames, the frames of the other side sound.

import { Microphone, SAMPLE_RATE } from "./microphone.js";
import { Playout } from "./playout.js";
import { Resampler } from "./resampler.js";

const BLOCK = 128;
const NOTHING = new Float32Array(BLOCK);

class LineProcessor extends AudioWorkletProcessor {
  #microphone;
  #playout = new Playout((name) => this.port.postMessage({ echo: name }));
  #resampler = new Resampler(SAMPLE_RATE, sampleRate);
  #played = 0; // the sum of squares of what sounded since the last frame
  #samples = 0;
  #open = true;

  constructor() {
    super();
    this.#microphone = new Microphone(sampleRate, (frame, said) => {
      const heard = Math.sqrt(this.#played / Math.max(this.#samples, 1));
      this.#played = this.#samples = 0;
      this.port.postMessage({ frame, said, heard }, [frame.buffer]);
    });
    this.port.onmessage = ({ data }) => this.#obey(data);
  }

  process([input], [output]) {
    // Without a microphone's sample there is silence: the other side takes a line without frames for dead.
    const heard = input[0] ?? NOTHING;
    this.#microphone.hear(heard);
    const [first, ...others] = output;
    const { length } = first;
    // Where one sample makes several, some are left for the next time.
    const samples = this.#resampler.push(this.#playout.play(this.#resampler.needs(length)), length);
    for (let index = 0; index < length; index++) {
      first[index] = samples[index];
      this.#played += samples[index] * samples[index];
    }
    this.#samples += length;
    others.forEach((channel) => channel.set(first));
    return this.#open;
  }

  #obey({ order, value }) {
    switch (order) {
      case "play":
        return this.#playout.put(value);
      case "mark":
        return this.#playout.mark(value);
      case "clear":
        return this.#playout.clear();
      case "end":
        return this.#playout.end();
      case "mute":
        this.#microphone.muted = value;
        return;
      case "close":
        this.#open = false;
    }
  }
}

registerProcessor("line", LineProcessor);
