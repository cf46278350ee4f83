// Microphone and loudspeaker of one call, and the thread between them.

import { NoMicrophone, explain } from "./problems.js";

export class Line {
  #context;
  #track;
  #node;

  /**
   * Asks for the microphone. `told` gets each frame, with how loud both sides are, and the name of each mark that is
   * due. With `processing` the browser takes echo and noise out. Throws NoMicrophone.
   */
  static async open(processing, told) {
    if (!window.isSecureContext || !navigator.mediaDevices) {
      throw new NoMicrophone(explain("insecure"));
    }
    // Made before anything is waited for: a browser starts it only for a person's click. Its rate is its own, which
    // is not that of the microphone either; Firefox refuses to mix them.
    const context = new AudioContext({ latencyHint: "interactive" });
    let track;
    try {
      const constraints = { echoCancellation: processing, noiseSuppression: processing, autoGainControl: processing };
      const media = await navigator.mediaDevices.getUserMedia({ audio: { ...constraints, channelCount: 1 } });
      [track] = media.getAudioTracks();
      await context.audioWorklet.addModule(new URL("./worklet.js", import.meta.url));
      await context.resume();
      return new Line(context, track, media, told);
    } catch (error) {
      track?.stop();
      await context.close();
      throw new NoMicrophone(explain(error.name));
    }
  }

  constructor(context, track, media, told) {
    this.#context = context;
    this.#track = track;
    this.#node = new AudioWorkletNode(context, "line", { channelCount: 1, channelCountMode: "explicit" });
    this.#node.port.onmessage = ({ data }) => told(data);
    context.createMediaStreamSource(media).connect(this.#node).connect(context.destination);
    track.onended = () => told({ lost: true });
  }

  /** Mu-law bytes, to be heard after those before. */
  play(bytes) {
    this.#tell("play", bytes);
  }

  /** To be told when all that was to be played has been. */
  mark(name) {
    this.#tell("mark", name);
  }

  /** Forget what was to be played, and tell of every mark. */
  clear() {
    this.#tell("clear");
  }

  /** Forget what was to be played; its marks are nobody's any more. */
  end() {
    this.#tell("end");
  }

  mute(muted) {
    this.#tell("mute", muted);
  }

  async close() {
    this.#tell("close");
    this.#track.onended = null;
    this.#track.stop();
    await this.#context.close();
  }

  #tell(order, value) {
    this.#node.port.postMessage({ order, value });
  }
}
