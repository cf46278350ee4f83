// From one sample rate to another, as a stream: a windowed sinc, which leaves out what the lower rate cannot hold.
//
// The rates are whole numbers, so the output falls on `up` different places between two input samples; each place has
// its own coefficients. What comes out is half the filter late, always by the same time.

const ZERO_CROSSINGS = 16;
/** Of the lower rate's half: a telephone line ends at 3.4 kHz, and the filter needs room to fall. */
const CUTOFF = 0.925;

const gcd = (a, b) => (b ? gcd(b, a % b) : a);

export class Resampler {
  #up;
  #down;
  #taps;
  #phases;
  #input;
  #length;
  #phase = 0;

  constructor(from, to) {
    const [whole, wholeTo] = [Math.round(from), Math.round(to)];
    const divisor = gcd(whole, wholeTo);
    this.#up = wholeTo / divisor;
    this.#down = whole / divisor;
    const scale = Math.min(1, wholeTo / whole) * CUTOFF;
    const half = Math.ceil(ZERO_CROSSINGS / scale);
    this.#taps = 2 * half;
    this.#phases = Array.from({ length: this.#up }, (_, phase) => coefficients(phase / this.#up, half, scale));
    // Silence before the first sample, so that there is a left half for it.
    this.#input = new Float32Array(4096);
    this.#length = half - 1;
  }

  /** What comes of these samples, together with what is left of those before; no more than `limit`. */
  push(samples, limit = Infinity) {
    this.#append(samples);
    const output = [];
    let start = 0;
    while (start + this.#taps <= this.#length && output.length < limit) {
      const weights = this.#phases[this.#phase];
      let sum = 0;
      for (let tap = 0; tap < this.#taps; tap++) {
        sum += weights[tap] * this.#input[start + tap];
      }
      output.push(sum);
      this.#phase += this.#down;
      start += Math.floor(this.#phase / this.#up);
      this.#phase %= this.#up;
    }
    this.#input.copyWithin(0, start, this.#length);
    this.#length -= start;
    return output;
  }

  /** How many more samples it takes until `count` come out. */
  needs(count) {
    const last = Math.floor((this.#phase + (count - 1) * this.#down) / this.#up);
    return Math.max(last + this.#taps - this.#length, 0);
  }

  #append(samples) {
    if (this.#length + samples.length > this.#input.length) {
      const larger = new Float32Array(2 * (this.#length + samples.length));
      larger.set(this.#input.subarray(0, this.#length));
      this.#input = larger;
    }
    this.#input.set(samples, this.#length);
    this.#length += samples.length;
  }
}

/** The filter around a place between two samples: 0 is on the left one, nearly 1 on the right one. */
function coefficients(place, half, scale) {
  const weights = Float32Array.from({ length: 2 * half }, (_, tap) => {
    const distance = tap - half + 1 - place;
    return sinc(distance * scale) * blackman(distance / half);
  });
  const sum = weights.reduce((total, weight) => total + weight, 0);
  return weights.map((weight) => weight / sum);
}

const sinc = (x) => (x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x));

const blackman = (x) =>
  Math.abs(x) >= 1 ? 0 : 0.42 + 0.5 * Math.cos(Math.PI * x) + 0.08 * Math.cos(2 * Math.PI * x);
