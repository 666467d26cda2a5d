// Line and area charts over time, drawn as SVG. One chart draws what it is given; what to draw is the caller's.
//
// A curve is {label, tone, style, values}: `tone` a CSS class that sets the colour, `style` "line", "thin" or "area",
// `values` one number or null for each moment. Null is a gap, and so is a hole in time: never a line through it.

import { clock } from "./format.js";

const SVG = "http://www.w3.org/2000/svg";
const EDGE = { left: 48, right: 8, top: 8, bottom: 18 };
const HEIGHT = 148;
const HOLE_S = 3.5;
const TIP_ROWS = 12;
const TIP_GAP = 22;
const TIME_STEPS_S = [5, 15, 30, 60, 120, 180, 300, 600];

function shape(name, attributes, text) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

// The next round step (1, 2 or 5 times a power of ten) that cuts `most` into at most `parts`.
function roundStep(most, parts) {
  const power = 10 ** Math.floor(Math.log10(most / parts));
  return [1, 2, 5, 10].map((m) => m * power).find((step) => most / step <= parts);
}

// Runs of neighbouring known points: [[x, y], …] for each, split where a value or a stretch of time is missing.
function runs(times, values, toX, toY) {
  const found = [];
  let run = null;
  for (let i = 0; i < times.length; i += 1) {
    if (values[i] === null || values[i] === undefined) {
      run = null;
      continue;
    }
    if (!run || times[i] - times[i - 1] > HOLE_S) found.push((run = []));
    run.push([toX(times[i]), toY(values[i])]);
  }
  return found;
}

const path = (points) => points.map(([x, y]) => `${x.toFixed(1)} ${y.toFixed(1)}`).join("L");

export class Chart {
  // `onCursor(time or null)` is called when a person points at a moment, so that all charts show the same one.
  constructor({ name, unit, wide = false, format, axis = format, least = 1, onCursor }) {
    Object.assign(this, { name, unit, format, axis, least, onCursor });
    this.view = null;
    this.cursor = null;
    this.width = 0;
    this.figure = document.createElement("figure");
    this.figure.className = wide ? "chart panel wide" : "chart panel";
    const caption = document.createElement("figcaption");
    const span = (className, text) => {
      const element = document.createElement("span");
      element.className = className;
      element.textContent = text;
      caption.append(element);
      return element;
    };
    span("name", name);
    span("unit", unit);
    this.readout = span("readout", "");
    this.svg = shape("svg", { role: "img", tabindex: "0", "aria-label": name });
    this.body = shape("g", {});
    this.marker = shape("g", {});
    this.svg.append(this.body, this.marker);
    this.tip = document.createElement("div");
    this.tip.className = "tip";
    this.tip.hidden = true;
    this.figure.append(caption, this.svg, this.tip);
    this.listen();
  }

  listen() {
    const point = (event) => this.onCursor(this.timeAt(event.clientX - this.svg.getBoundingClientRect().left));
    this.svg.addEventListener("pointermove", point);
    this.svg.addEventListener("pointerdown", point);
    this.svg.addEventListener("pointerleave", () => this.onCursor(null));
    this.svg.addEventListener("focus", () => this.tip.setAttribute("aria-live", "polite"));
    this.svg.addEventListener("blur", () => {
      this.tip.removeAttribute("aria-live");
      this.onCursor(null);
    });
    this.svg.addEventListener("keydown", (event) => this.step(event));
    new ResizeObserver(([entry]) => {
      this.width = entry.contentRect.width;
      this.redraw();
    }).observe(this.svg);
  }

  step(event) {
    const times = this.view?.times ?? [];
    const moves = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10, Home: -1e6, End: 1e6, Escape: 0 };
    if (!(event.key in moves) || !times.length) return;
    event.preventDefault();
    if (event.key === "Escape") return this.onCursor(null);
    const from = this.cursor === null ? times.length - 1 : this.nearest(this.cursor);
    this.onCursor(times[Math.min(times.length - 1, Math.max(0, from + moves[event.key]))]);
  }

  // view: {from, to, times, curves, promises: [{value, tone}], rest: [{label, value, alarm}] shown while nobody points}
  draw(view) {
    this.view = view;
    this.redraw();
  }

  redraw() {
    if (!this.view || this.width <= EDGE.left + EDGE.right) return;
    const { from, to, times, curves, promises = [] } = this.view;
    const peak = curves.reduce((most, curve) => curve.values.reduce((m, v) => (v > m ? v : m), most), 0);
    const shown = promises.filter(({ value }) => value <= Math.max(peak, this.least) * 2.5);
    const most = Math.max(peak, this.least, ...shown.map(({ value }) => value));
    const step = roundStep(most, 4);
    this.top = Math.ceil(most / step - 1e-9) * step;
    this.svg.setAttribute("viewBox", `0 0 ${this.width} ${HEIGHT}`);
    const parts = [...this.levels(step), ...this.moments(from, to)];
    for (const { value, tone } of shown) parts.push(this.level(`promise ${tone}`, value));
    const drawn = curves.map((curve) => this.curve(times, curve)).flat();
    if (!drawn.length) {
      const middle = { x: (this.width + EDGE.left) / 2, y: HEIGHT / 2, "text-anchor": "middle", class: "none" };
      parts.push(shape("text", middle, "nothing measured in this time"));
    }
    this.body.replaceChildren(...parts, ...drawn);
    const latest = curves.map((c) => `${c.label} ${this.format(c.values.at(-1) ?? null)}`).slice(0, 6).join(", ");
    this.svg.setAttribute("aria-label", `${this.name}, ${this.unit}, now: ${latest || "nothing"}. Arrow keys read it.`);
    this.point(this.cursor);
  }

  x = (time) =>
    EDGE.left + ((time - this.view.from) / (this.view.to - this.view.from)) * (this.width - EDGE.left - EDGE.right);

  y = (value) => HEIGHT - EDGE.bottom - (value / this.top) * (HEIGHT - EDGE.top - EDGE.bottom);

  level(className, value) {
    const y = Math.round(this.y(value)) + 0.5;
    return shape("line", { class: className, x1: EDGE.left, x2: this.width - EDGE.right, y1: y, y2: y });
  }

  levels(step) {
    const parts = [];
    for (let value = 0; value <= this.top + step / 2; value += step) {
      parts.push(this.level(value ? "grid" : "base", value));
      const text = { x: EDGE.left - 6, y: this.y(value) + 3.5, "text-anchor": "end" };
      parts.push(shape("text", text, this.axis(value, this.top)));
    }
    return parts;
  }

  moments(from, to) {
    const room = Math.min(8, Math.max(2, Math.floor((this.width - EDGE.left) / 56)));
    const step = TIME_STEPS_S.find((s) => (to - from) / s <= room) ?? 600;
    const parts = [];
    for (let time = Math.ceil(from / step) * step; time <= to; time += step) {
      const x = this.x(time);
      const half = step < 60 ? 26 : 17;
      if (x < EDGE.left + half - 10 || x > this.width - half) continue;
      parts.push(shape("text", { x, y: HEIGHT - 4, "text-anchor": "middle" }, clock(time, step < 60)));
    }
    return parts;
  }

  curve(times, { tone, style, values }) {
    const floor = this.y(0);
    return runs(times, values, this.x, this.y).flatMap((run) => {
      const first = run[0];
      const last = run.at(-1);
      // A lone point becomes a line of no length, which the round cap draws as a dot.
      const line = run.length > 1 ? path(run) : `${path(run)}L${path(run)}`;
      const drawn = [shape("path", { class: `curve ${style === "thin" ? "thin " : ""}${tone}`, d: `M${line}` })];
      if (style === "area") {
        const around = `M${first[0].toFixed(1)} ${floor}L${path(run)}L${last[0].toFixed(1)} ${floor}Z`;
        drawn.unshift(shape("path", { class: `area ${tone}`, d: around }));
      }
      return drawn;
    });
  }

  nearest(time) {
    const { times } = this.view;
    let low = 0;
    let high = times.length - 1;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (times[middle] < time) low = middle;
      else high = middle;
    }
    return Math.abs(times[low] - time) <= Math.abs(times[high] - time) ? low : high;
  }

  timeAt(x) {
    if (!this.view?.times.length) return null;
    const { from, to } = this.view;
    return from + ((x - EDGE.left) / (this.width - EDGE.left - EDGE.right)) * (to - from);
  }

  // Shows the moment nearest to `time` on this chart; null takes the marker away.
  point(time) {
    this.cursor = time;
    if (!this.view) return;
    const { times, curves, rest } = this.view;
    this.readout.replaceChildren(...rest.map(entry));
    const index = time === null || !times.length ? -1 : this.nearest(time);
    const isShown = index >= 0 && Math.abs(times[index] - time) <= HOLE_S;
    this.tip.hidden = !isShown;
    this.marker.replaceChildren(...(isShown ? this.mark(times[index], index) : []));
    if (isShown) this.tell(times[index], curves.map((curve) => ({ ...curve, value: curve.values[index] ?? null })));
  }

  mark(time, index) {
    const x = this.x(time);
    const known = this.view.curves.filter((c) => c.values[index] !== null && c.values[index] !== undefined);
    const dot = (c) => shape("circle", { class: `dot ${c.tone}`, cx: x, cy: this.y(c.values[index]), r: 3.5 });
    const line = { class: "cursor", x1: x, x2: x, y1: EDGE.top, y2: HEIGHT - EDGE.bottom };
    return [shape("line", line), ...known.map(dot)];
  }

  // Fills the tip, and puts it on the side of the marker where there is room.
  tell(time, readings) {
    const known = readings.filter(({ value }) => value !== null);
    const rows = known.slice(0, TIP_ROWS).map(({ label, tone, value }) => {
      const row = entry({ label: label || this.name, value: this.format(value) });
      const swatch = document.createElement("i");
      swatch.className = `swatch ${tone}`;
      row.prepend(swatch);
      return row;
    });
    if (known.length > TIP_ROWS) rows.push(entry({ label: `and ${known.length - TIP_ROWS} more`, value: "" }));
    if (!known.length) rows.push(entry({ label: "nothing measured", value: "" }));
    this.tip.replaceChildren(entry({ label: "", value: clock(time) }), ...rows);
    const x = this.x(time);
    const isRight = x < this.width / 2;
    this.tip.style.left = isRight ? `${x + TIP_GAP}px` : "auto";
    this.tip.style.right = isRight ? "auto" : `${this.width - x + TIP_GAP}px`;
  }
}

function entry({ label, value, alarm }) {
  const element = document.createElement("span");
  const figure = document.createElement("b");
  figure.textContent = value;
  if (alarm) figure.className = "alarm";
  element.append(label ? `${label} ` : "", figure);
  return element;
}
