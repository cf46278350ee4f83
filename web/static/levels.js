// How loud the bytes of a recording are, as wire/levels.py has it: the root of the peak, from 0 to 100.

import { decode } from "./mulaw.js";

const FULL_SCALE = 32124;

const LEVELS = Uint8Array.from({ length: 256 }, (_, byte) => Math.round(100 * Math.sqrt(Math.abs(decode(byte)) / FULL_SCALE)));

/** The levels of one track of bytes that hold `tracks` in turn, one for every so many samples. */
export function levels(bytes, track, tracks, samples) {
  const found = new Uint8Array(Math.ceil(bytes.length / tracks / samples));
  for (let index = track; index < bytes.length; index += tracks) {
    const place = Math.floor(index / tracks / samples);
    const level = LEVELS[bytes[index]];
    if (level > found[place]) {
      found[place] = level;
    }
  }
  return found;
}
