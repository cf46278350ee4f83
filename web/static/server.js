// Requests to this server, with what it demands of them.

const content = (name) => document.querySelector(`meta[name="${name}"]`)?.content ?? "";

/** What the server answered instead of doing what it was asked. The message can be shown. */
export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** The server did not answer. */
export class Unreachable extends Error {}

/** The address of a path of this server. */
export const address = (path) => content("base-path") + path;

/** The JSON at that path. Throws Refused and Unreachable. */
export const read = (path) => ask(path, {});

/** Has the server do something; its answer, null where it has none. `options` are those of fetch. */
export function post(path, data = null, options = {}) {
  const headers = { "X-CSRF-Token": content("csrf-token"), ...options.headers };
  if (data !== null) {
    headers["Content-Type"] = "application/json";
  }
  return ask(path, { ...options, method: "POST", headers, body: data === null ? null : JSON.stringify(data) });
}

async function ask(path, options) {
  let response;
  try {
    response = await fetch(address(path), { ...options, headers: { Accept: "application/json", ...options.headers } });
  } catch {
    throw new Unreachable("The server does not answer.");
  }
  const answer = await response.json().catch(() => null);
  if (!response.ok) {
    const unsaid = response.status === 401 ? "You are signed out. Load the page again to sign in." : null;
    throw new Refused(response.status, unsaid ?? answer?.error ?? `The server refused this (${response.status}).`);
  }
  return answer;
}
