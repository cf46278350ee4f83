// One media stream, as Twilio speaks it: a websocket with JSON in text frames, in which every number is a string.

import { address } from "./server.js";

export class Stream {
  #call;
  #socket;
  #sequence = 0;
  #chunk = 0;
  #openedAt;

  /** `call` is what the server said of it. `told` gets {audio}, {mark}, {clear} and in the end {closed}. */
  constructor(call, told) {
    this.#call = call;
    const url = new URL(address(call.socket), location.href);
    url.protocol = url.protocol.replace("http", "ws");
    this.#socket = new WebSocket(url);
    this.#socket.onopen = () => this.#start(told);
    this.#socket.onmessage = ({ data }) => hear(JSON.parse(data), told);
    this.#socket.onclose = () => told({ closed: true, opened: this.#openedAt !== undefined });
  }

  /** What the caller said, 160 bytes of it. */
  media(bytes) {
    if (this.#openedAt === undefined) {
      return;
    }
    this.#chunk += 1;
    this.#send("media", {
      media: {
        track: "inbound",
        chunk: `${this.#chunk}`,
        timestamp: `${Math.round(performance.now() - this.#openedAt)}`,
        payload: btoa(String.fromCharCode(...bytes)),
      },
    });
  }

  /** A mark that was passed. */
  mark(name) {
    this.#send("mark", { mark: { name } });
  }

  /** A key that was pressed. */
  digit(digit) {
    this.#send("dtmf", { dtmf: { track: "inbound_track", digit } });
  }

  /** The caller hangs up. */
  stop() {
    const { accountSid, callSid } = this.#call;
    this.#send("stop", { stop: { accountSid, callSid } });
    this.#socket.close(1000);
  }

  #start(told) {
    const { accountSid, callSid, streamSid, parameters } = this.#call;
    const mediaFormat = { encoding: "audio/x-mulaw", sampleRate: 8000, channels: 1 };
    this.#openedAt = performance.now();
    this.#socket.send(JSON.stringify({ event: "connected", protocol: "Call", version: "1.0.0" }));
    this.#send("start", {
      start: { accountSid, streamSid, callSid, tracks: ["inbound"], mediaFormat, customParameters: parameters },
    });
    told({ opened: true });
  }

  #send(event, content) {
    if (this.#socket.readyState !== WebSocket.OPEN) {
      return;
    }
    this.#sequence += 1;
    const head = { event, sequenceNumber: `${this.#sequence}`, streamSid: this.#call.streamSid };
    this.#socket.send(JSON.stringify({ ...head, ...content }));
  }
}

function hear(message, told) {
  switch (message.event) {
    case "media":
      return told({ audio: Uint8Array.from(atob(message.media.payload), (letter) => letter.charCodeAt(0)) });
    case "mark":
      return told({ mark: message.mark.name });
    case "clear":
      return told({ clear: true });
  }
}
