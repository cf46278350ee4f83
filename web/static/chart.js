// Small charts, as SVG: bars and lines over time, with the values on hover and for screen readers.

const SVG = "http://www.w3.org/2000/svg";
const [HEIGHT, LEFT, BOTTOM, TOP] = [180, 44, 22, 8];

function shape(tag, attributes, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) {
    element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

/** A round number that is no smaller. */
function ceiling(value) {
  if (value <= 0) {
    return 1;
  }
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 2.5, 5, 10].map((each) => each * power).find((each) => each >= value);
}

/**
 * A chart in `place`: `points` are {label, title, values}, of which null is not known; `format` writes a value.
 * `kind` is "bars" for the first of the values, or "lines" for all.
 */
export function chart(place, { points, format, kind, name }) {
  const draw = () => {
    const width = place.clientWidth;
    if (!width) {
      return;
    }
    const most = ceiling(Math.max(...points.flatMap(({ values }) => values.map((value) => value ?? 0)), 0));
    const room = (width - LEFT) / points.length;
    const x = (index) => LEFT + (index + 0.5) * room;
    const y = (value) => HEIGHT - BOTTOM - (value / most) * (HEIGHT - BOTTOM - TOP);
    const shapes = [0, 0.5, 1].flatMap((share) => [
      shape("line", { class: "grid", x1: LEFT, x2: width, y1: y(share * most), y2: y(share * most) }),
      shape("text", { x: LEFT - 8, y: y(share * most) + 4, "text-anchor": "end" }, format(share * most)),
    ]);
    const every = Math.ceil(points.length / Math.max(Math.floor((width - LEFT) / 68), 1));
    points.forEach(({ label }, index) => {
      if (index % every === 0) {
        shapes.push(shape("text", { x: x(index), y: HEIGHT - 4, "text-anchor": "middle" }, label));
      }
    });
    shapes.push(...(kind === "bars" ? bars(points, x, y, room) : lines(points, x, y)));
    place.replaceChildren(shape("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, role: "img", "aria-label": summary(points, format, name) }, ...shapes));
  };
  place.redraw = draw;
  if (!place.observed) {
    place.observed = new ResizeObserver(() => place.redraw());
    place.observed.observe(place);
  }
  draw();
}

function summary(points, format, name) {
  const known = points.filter(({ values }) => values.some((value) => value));
  return `${name}: ${known.map(({ title }) => title).join("; ") || "nothing"}`;
}

function bars(points, x, y, room) {
  const width = Math.max(room * 0.7, 2);
  return points.filter(({ values }) => values[0]).map((point) => {
    const at = points.indexOf(point);
    const top = y(point.values[0]);
    const bar = shape("rect", { class: "bar", x: x(at) - width / 2, y: top, width, height: y(0) - top, rx: Math.min(3, width / 2) });
    bar.append(shape("title", {}, point.title));
    return bar;
  });
}

function lines(points, x, y) {
  const shapes = [];
  points[0]?.values.forEach((_, which) => {
    const second = which ? " second" : "";
    let path = "";
    points.forEach(({ values, title }, index) => {
      const value = values[which];
      if (value === null) {
        return;
      }
      const before = index > 0 && points[index - 1].values[which] !== null;
      path += `${before ? "L" : "M"}${x(index).toFixed(1)},${y(value).toFixed(1)}`;
      const dot = shape("circle", { class: `dot${second}`, cx: x(index), cy: y(value), r: 3.5 });
      dot.append(shape("title", {}, title));
      shapes.push(dot);
    });
    shapes.unshift(shape("path", { class: `line${second}`, d: path || "M0,0" }));
  });
  return shapes;
}
