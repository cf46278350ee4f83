// G.711 mu-law: one byte a sample, to numbers from -1 to 1.

export const SAMPLE_RATE = 8000;

export const SAMPLES = Float32Array.from({ length: 256 }, (_, index) => {
  const code = ~index & 0xff;
  const magnitude = ((((code & 0xf) << 3) + 0x84) << ((code >> 4) & 7)) - 0x84;
  return (code & 0x80 ? -magnitude : magnitude) / 32768;
});

/** As the server's levels are: 0 to 100, the root of the peak. */
const LEVELS = Uint8Array.from(SAMPLES, (sample) => Math.round(100 * Math.sqrt(Math.min(Math.abs(sample) * 1.0201, 1))));

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
