// How times, lengths and amounts are written, everywhere in the console.

const CLOCK = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const DATE = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit" });

/** 83.4 as 1:23, 3683 as 1:01:23. */
export function length(seconds) {
  const whole = Math.max(Math.floor(seconds), 0);
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const two = (number) => String(number).padStart(2, "0");
  return hours ? `${hours}:${two(minutes)}:${two(rest)}` : `${minutes}:${two(rest)}`;
}

export const date = (at) => DATE.format(new Date(at * 1000));
export const clock = (at) => CLOCK.format(new Date(at * 1000));

/** 734 ms as 0.73 s. */
export const seconds = (ms) => (ms === null || ms === undefined ? "–" : `${(ms / 1000).toFixed(2)} s`);

export const cost = (amount) => (amount >= 10 ? amount.toFixed(2) : amount.toFixed(4));

export const plural = (count, one, many = `${one}s`) => `${count} ${count === 1 ? one : many}`;

const OUTCOMES = {
  "": "Lost",
  hung_up: "Caller hung up",
  ended: "Ended by us",
  handed_over: "Handed over",
  torn_away: "Handed over in mid-word",
  transferred: "Transferred",
  sent_digits: "Pressed keys",
  voicemail: "Voicemail",
  fax: "Fax machine",
  caller_silent: "Caller fell silent",
  silent: "Assistant not heard",
  model_failed: "Model failed",
  phone_failed: "Phone line failed",
  failed: "Failed",
};
const BAD = new Set(["silent", "model_failed", "phone_failed", "failed"]);

export const outcome = (name) => OUTCOMES[name] ?? name.replaceAll("_", " ");
export const isBad = (name) => BAD.has(name);

/** An element with these attributes and children; texts are texts, and never markup. */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) {
      element.setAttribute(name, value === true ? "" : value);
    }
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** Sets a text, if it is another one: what is selected, or being read out, is left alone. */
export function write(element, text) {
  if (element.textContent !== text) {
    element.textContent = text;
  }
}
