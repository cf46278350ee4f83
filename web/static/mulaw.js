// G.711 mu-law, as wire/g711.py has it: on 14-bit samples, one byte each.

const BIAS = 33;
const CLIP = 8158;

/** Positive zero. */
export const SILENCE = 0xff;

function encodeSample(sample) {
  let magnitude = sample >> 2;
  let mask = 0xff;
  if (magnitude < 0) {
    magnitude = -magnitude;
    mask = 0x7f;
  }
  magnitude = Math.min(magnitude, CLIP) + BIAS;
  const segment = 26 - Math.clz32(magnitude);
  return ((segment << 4) | ((magnitude >> (segment + 1)) & 0xf)) ^ mask;
}

function decodeByte(byte) {
  const code = ~byte & 0xff;
  const magnitude = (((code & 0xf) << 3) + 0x84) << ((code >> 4) & 7);
  return code & 0x80 ? 0x84 - magnitude : magnitude - 0x84;
}

const ENCODED = Uint8Array.from({ length: 65536 }, (_, index) => encodeSample((index << 16) >> 16));
const DECODED = Int16Array.from({ length: 256 }, (_, byte) => decodeByte(byte));

/** The byte of a signed 16-bit sample. */
export const encode = (sample) => ENCODED[sample & 0xffff];

/** The signed 16-bit sample of a byte. */
export const decode = (byte) => DECODED[byte];
