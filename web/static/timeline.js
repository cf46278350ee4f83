// The timeline of a call: two lanes with what was said and how loud it was, and below them what happened.

const SVG = "http://www.w3.org/2000/svg";
const HEIGHT = 204;
const LANES = { caller: 22, assistant: 92 };
const LANE_HEIGHT = 64;
const WORDS_HEIGHT = 16;
const EVENTS_TOP = 164;
const LETTER = 6.6; // px, on average
const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600];

function shape(tag, attributes, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) {
    element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

function titled(element, title) {
  element.append(shape("title", {}, title));
  return element;
}

/**
 * Draws `blocks` {lane, from, to, heardTo, text, now}, `tools` {from, to, label, failed}, `silences` {from, to, label},
 * `marks` {at, label, kind: "interruption" or "reconnect"} and `pieces` {at, step, caller, assistant}, whose levels are
 * from 0 to 100. Times are in seconds of any clock.
 */
export class Timeline {
  blocks = []; tools = []; silences = []; marks = []; pieces = [];
  from = 0; to = 1; origin = 0;
  #place; #svg; #drawing; #cursor; #width = 0;

  constructor(place, { seek = null } = {}) {
    this.#place = place;
    this.#drawing = shape("g", {});
    this.#cursor = shape("line", { class: "cursor", y1: 14, y2: HEIGHT - 4, visibility: "hidden" });
    this.#svg = shape("svg", { role: "img", "aria-label": "Timeline of the call; the conversation below says the same" });
    this.#svg.append(this.#drawing, this.#cursor);
    place.append(this.#svg);
    new ResizeObserver(() => {
      this.#width = this.#place.clientWidth;
      this.draw();
    }).observe(place);
    if (seek) {
      this.#svg.addEventListener("click", (event) => {
        const share = event.offsetX / Math.max(this.#width, 1);
        seek(this.from + share * (this.to - this.from));
      });
    }
  }

  get width() {
    return this.#width;
  }

  #x(at) {
    return ((at - this.from) / (this.to - this.from)) * this.#width;
  }

  cursor(at) {
    const x = at === null ? -1 : this.#x(at);
    this.#cursor.setAttribute("x1", x);
    this.#cursor.setAttribute("x2", x);
    this.#cursor.setAttribute("visibility", at === null ? "hidden" : "visible");
  }

  draw() {
    if (!this.#width || this.to <= this.from) {
      return;
    }
    this.#svg.setAttribute("viewBox", `0 0 ${this.#width} ${HEIGHT}`);
    const inside = ({ from, to }) => to > this.from && from < this.to;
    this.#drawing.replaceChildren(
      ...this.#axis(),
      ...Object.entries(LANES).map(([, y]) => shape("rect", { class: "lane", x: 0, y, width: this.#width, height: LANE_HEIGHT, rx: 4 })),
      ...this.blocks.filter(inside).flatMap((block) => this.#block(block)),
      ...Object.keys(LANES).map((lane) => this.#wave(lane)),
      ...this.silences.filter(inside).flatMap((silence) => this.#below(silence, "silence")),
      ...this.tools.filter(inside).flatMap((tool) => this.#below(tool, tool.failed ? "tool failed" : "tool")),
      ...this.marks.filter(({ at }) => at > this.from && at < this.to).flatMap((mark) => this.#mark(mark)),
    );
  }

  #axis() {
    const room = Math.max(this.#width / 80, 2);
    const step = STEPS.find((each) => (this.to - this.from) / each <= room) ?? 7200;
    const shapes = [];
    const first = Math.ceil((this.from - this.origin) / step) * step;
    for (let at = Math.max(first, 0); this.origin + at < this.to; at += step) {
      const x = this.#x(this.origin + at);
      const text = `${Math.floor(at / 60)}:${String(Math.floor(at % 60)).padStart(2, "0")}`;
      shapes.push(shape("line", { class: "tick", x1: x, x2: x, y1: 14, y2: HEIGHT }));
      shapes.push(shape("text", { x: x + 3, y: 11 }, text));
    }
    return shapes;
  }

  #block({ lane, from, to, heardTo, text, now }) {
    const y = LANES[lane];
    const [left, right, heard] = [this.#x(from), Math.max(this.#x(to), this.#x(from) + 3), this.#x(Math.min(heardTo ?? to, to))];
    const shapes = [];
    if (heard > left) {
      const box = { class: `block ${lane}${now ? " now" : ""}`, x: left, y, width: heard - left, height: LANE_HEIGHT, rx: 4 };
      shapes.push(titled(shape("rect", box), text));
    }
    if (right > heard + 1) {
      const box = { class: "block cut", x: heard, y: y + 1, width: right - heard, height: LANE_HEIGHT - 2, rx: 4 };
      shapes.push(titled(shape("rect", box), `Not heard: ${text}`));
    }
    const start = Math.max(left, 0);
    const letters = Math.floor((right - start - 8) / LETTER);
    if (letters > 3) {
      const shown = text.length > letters ? `${text.slice(0, letters - 1)}…` : text;
      shapes.push(shape("text", { class: `words ${lane}`, x: start + 5, y: y + 13 }, shown));
    }
    return shapes;
  }

  #wave(lane) {
    const middle = LANES[lane] + WORDS_HEIGHT + (LANE_HEIGHT - WORDS_HEIGHT) / 2;
    const reach = (LANE_HEIGHT - WORDS_HEIGHT) / 2 - 3;
    const columns = new Map(); // the loudest level of each column of pixels
    for (const piece of this.pieces) {
      const levels = piece[lane];
      if (piece.at > this.to || piece.at + levels.length * piece.step < this.from) {
        continue;
      }
      const first = Math.max(Math.floor((this.from - piece.at) / piece.step), 0);
      const last = Math.min(Math.ceil((this.to - piece.at) / piece.step), levels.length);
      for (let index = first; index < last; index += 1) {
        const column = Math.floor(this.#x(piece.at + index * piece.step) / 2);
        columns.set(column, Math.max(columns.get(column) ?? 0, levels[index]));
      }
    }
    const step = this.pieces.length ? (this.pieces[0].step / (this.to - this.from)) * this.#width : 2;
    const width = Math.max(Math.min(step - 1, 4), 1.2);
    let path = "";
    for (const [column, level] of columns) {
      const half = Math.max((level / 100) * reach, 0.5);
      path += `M${column * 2},${(middle - half).toFixed(1)}h${width.toFixed(1)}v${(2 * half).toFixed(1)}h${(-width).toFixed(1)}z`;
    }
    return shape("path", { class: `wave ${lane}`, d: path });
  }

  #below({ from, to, label }, kind) {
    const left = this.#x(from);
    const width = Math.max(this.#x(to) - left, 4);
    const box = { class: kind, x: left, y: EVENTS_TOP, width, height: 16, rx: 4 };
    const shapes = [titled(shape("rect", box), label)];
    shapes.push(shape("text", { class: `mark-label ${kind}`, x: Math.max(left, 0), y: EVENTS_TOP + 30 }, label));
    return shapes;
  }

  #mark({ at, label, kind }) {
    const x = this.#x(at);
    const lanes = kind === "interruption" ? [LANES.assistant, LANES.assistant + LANE_HEIGHT] : [16, EVENTS_TOP];
    const line = shape("line", { class: `mark ${kind}`, x1: x, x2: x, y1: lanes[0], y2: lanes[1] });
    return [titled(line, label)];
  }
}
