// What went wrong, and what to do about it, in words.

/** There is no microphone to be had. The message can be shown. */
export class NoMicrophone extends Error {}

const MICROPHONE = {
  insecure:
    "Browsers give the microphone only to pages that were opened over https://, or on the server's own machine at " +
    "http://127.0.0.1 or http://localhost. Open this page in one of these ways.",
  NotFoundError: "No microphone was found. Connect one, and call again.",
  NotAllowedError:
    "The microphone was refused. Allow it for this page, mostly beside the address at the top of the window, and call again.",
  NotReadableError: "The microphone cannot be used: another program may have it. Close that one, and call again.",
  AbortError: "Your sound could not be started. Load the page again, and call again.",
};

export const explain = (name) => MICROPHONE[name] ?? `The microphone cannot be used (${name}). Load the page again.`;

export const REFUSED_SOCKET =
  "The server refused the call's media socket. If there is a proxy in front of it, let that pass websockets.";
export const SERVER_GONE = "The server does not answer any more. The call has ended.";
export const MICROPHONE_LOST = "The microphone is gone, so the assistant hears silence.";
