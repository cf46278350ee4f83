// One call: the line, its streams one after the other, and what the server says between them.

import { Line } from "./line.js";
import { MICROPHONE_LOST, NoMicrophone, REFUSED_SOCKET, SERVER_GONE } from "./problems.js";
import { Refused, Unreachable, post } from "./server.js";
import { Stream } from "./stream.js";

/** How long a server that is gone may take to come back: while calls are handed over none may be there. */
const PATIENCE_MS = 15_000;
const RETRY_MS = 500;

const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

export class Call {
  #view;
  #assistant;
  #line;
  #stream;
  #number = 0;
  #over = false;
  #muted = false;
  sid = null;

  /**
   * `view` is told: state(name, words), levels(said, heard), warn(words), over(words, isProblem). `assistant` is the
   * name of the one to call, null for the one that answers where nothing is said.
   */
  constructor(view, assistant) {
    this.#view = view;
    this.#assistant = assistant;
  }

  /** Calls. With `processing` the browser takes echo and noise out of what the microphone hears. */
  async place(processing) {
    this.#view.state("calling", "Asking for your microphone…");
    try {
      const line = await Line.open(processing, (told) => this.#hearLine(told));
      if (this.#over) {
        return line.close();
      }
      this.#line = line;
      this.#line.mute(this.#muted);
      this.#view.state("calling", "Calling…");
      await this.#follow(await this.#ask("/softphone/call", {}, 0));
    } catch (error) {
      this.#fail(error);
    }
  }

  hangUp() {
    if (!this.#over) {
      this.#end("You hung up.");
      this.#stream?.stop();
      this.#tellEnd();
    }
  }

  mute(muted) {
    this.#muted = muted;
    this.#line?.mute(muted);
  }

  digit(digit) {
    this.#stream?.digit(digit);
  }

  async #follow(next) {
    if (this.#over) {
      return;
    }
    if (next.then === "stream") {
      await pause(next.seconds * 1000);
      if (!this.#over) {
        this.sid = next.callSid;
        this.#number = next.stream;
        this.#stream = new Stream(next, (told) => this.#hearStream(told));
      }
    } else if (next.then === "fallback") {
      this.#end(`The assistant cannot be reached. Callers hear: “${next.say}”`, true);
    } else if (next.then === "transfer") {
      this.#end("The assistant put you through to somebody. A telephone would ring there now; a browser cannot.");
    } else {
      this.#end("The assistant hung up.");
    }
  }

  async #streamClosed(opened) {
    this.#line.end();
    this.#stream = null;
    if (this.#over) {
      return;
    }
    if (!opened && this.#number === 1) {
      return this.#end(REFUSED_SOCKET, true);
    }
    this.#view.state("resuming", "The line is being picked up again…");
    try {
      await this.#follow(await this.#ask("/softphone/ended", { callSid: this.sid, stream: this.#number }, PATIENCE_MS));
    } catch (error) {
      this.#fail(error);
    }
  }

  /** The server's answer, from the worker that has one, and within so long from the server that comes back. */
  async #ask(path, data, patienceMs) {
    const deadline = performance.now() + patienceMs;
    while (!this.#over) {
      try {
        const answer = await post(path, { assistant: this.#assistant, ...data });
        if (answer.then !== "ask again") {
          return answer;
        }
        await pause(answer.seconds * 1000);
      } catch (error) {
        const passing = error instanceof Unreachable || error.status === 502 || error.status === 503;
        if (!passing || performance.now() > deadline) {
          throw error;
        }
        await pause(RETRY_MS);
      }
    }
    return { then: "end" };
  }

  #hearLine({ frame, said, heard, echo, lost }) {
    if (frame) {
      this.#stream?.media(frame);
      this.#view.levels(said, heard);
    } else if (echo !== undefined) {
      this.#stream?.mark(echo);
    } else if (lost) {
      this.#view.warn(MICROPHONE_LOST);
    }
  }

  #hearStream({ audio, mark, clear, opened, closed }) {
    if (audio) {
      this.#line.play(audio);
    } else if (mark !== undefined) {
      this.#line.mark(mark);
    } else if (clear) {
      this.#line.clear();
    } else if (closed) {
      this.#streamClosed(opened);
    } else if (opened && !this.#over) {
      this.#view.state("talking", this.#number === 1 ? "Connected." : "Connected again.");
    }
  }

  #fail(error) {
    if (error instanceof Unreachable && this.sid !== null) {
      this.#end(SERVER_GONE, true);
    } else if (error instanceof NoMicrophone || error instanceof Refused || error instanceof Unreachable) {
      this.#end(error.message, true);
    } else {
      this.#end("Something went wrong in this page. Load it again.", true);
      throw error;
    }
  }

  #end(words, isProblem = false) {
    if (!this.#over) {
      this.#over = true;
      this.#line?.close();
      this.#view.over(words, isProblem);
    }
  }

  #tellEnd() {
    if (this.sid !== null) {
      // Lives on when the page does not.
      const told = { callSid: this.sid, stream: this.#number, hungUp: true };
      post("/softphone/ended", told, { keepalive: true }).catch(() => null);
    }
  }
}
