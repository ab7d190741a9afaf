// The pages of tidepick: drawing of waveforms, then one section a page. No dependency, no build.

const $ = (id) => document.getElementById(id);
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

// ---------------------------------------------------------------- talking to the server

async function ask(path, body) {
  const options = body === undefined ? {} : {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  };
  for (let trial = 0; ; trial++) {
    let reply;
    try {
      reply = await fetch(path, options);
    } catch (error) {
      // The answer may be lost and the vote not: it has its id, so it can be sent again.
      if (trial === 3) throw new Error("The server cannot be reached. Try again.");
      await new Promise((done) => setTimeout(done, 300 * 2 ** trial));
      continue;
    }
    const told = await reply.json();
    if (!reply.ok) throw new Error(told.error || `The server answered ${reply.status}.`);
    return told;
  }
}

const uuid = () =>
  "10000000-1000-4000-8000-100000000000".replace(/[018]/g, (c) =>
    (c ^ (crypto.getRandomValues(new Uint8Array(1))[0] & (15 >> (c / 4)))).toString(16));

function say(text, isError = false) {
  const line = $("message");
  line.textContent = text;
  line.classList.toggle("error", isError);
}

const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));

/** The JSON of a stretch with its arrays unpacked; bytes of 255 are no value. */
function unpacked(view) {
  const samples = view.components.map((c) => new Float32Array(bytes(c.samples).buffer));
  const sides = {};
  for (const [name, side] of Object.entries(view.sides)) {
    const curves = {};
    for (const [phase, text] of Object.entries(side.curves)) curves[phase] = bytes(text);
    sides[name] = { curves, picks: side.picks };
  }
  return { ...view, names: view.components.map((c) => c.name), samples, sides };
}

// ---------------------------------------------------------------- filters

const FILTERS = [
  { name: "off", band: null },
  { name: "1–20 Hz", band: [1, 20] },
  { name: "2–8 Hz", band: [2, 8] },
];

/** Second-order Butterworth high- or low-pass (bilinear transform). */
function section(kind, frequency, rate) {
  const k = Math.tan((Math.PI * frequency) / rate);
  const norm = 1 / (1 + Math.SQRT2 * k + k * k);
  const b0 = kind === "high" ? norm : k * k * norm;
  return {
    b: kind === "high" ? [b0, -2 * b0, b0] : [b0, 2 * b0, b0],
    a: [2 * (k * k - 1) * norm, (1 - Math.SQRT2 * k + k * k) * norm],
  };
}

/** Causal, so that nothing moves ahead of an onset; each stretch between gaps for itself. */
function filtered(row, band, rate) {
  if (!band) return row;
  const sections = [section("high", band[0], rate)];
  if (band[1] < rate / 2) sections.push(section("low", band[1], rate));
  const out = Float32Array.from(row);
  for (let start = 0; start < out.length; start++) {
    if (Number.isNaN(out[start])) continue;
    let stop = start;
    while (stop < out.length && !Number.isNaN(out[stop])) stop++;
    const level = out[start];
    for (let i = start; i < stop; i++) out[i] -= level;
    for (const { b, a } of sections) {
      let x1 = 0, x2 = 0, y1 = 0, y2 = 0;
      for (let i = start; i < stop; i++) {
        const x = out[i];
        const y = b[0] * x + b[1] * x1 + b[2] * x2 - a[0] * y1 - a[1] * y2;
        x2 = x1; x1 = x; y2 = y1; y1 = y;
        out[i] = y;
      }
    }
    start = stop;
  }
  return out;
}

/** Of what is in sight: where a trace rests between its events. */
function median(row, start, stop) {
  const sorted = row.slice(start, stop).filter((v) => !Number.isNaN(v)).sort();
  return sorted.length ? sorted[sorted.length >> 1] : 0;
}

// ---------------------------------------------------------------- axes that several drawings share

class Axes {
  constructor() {
    this.drawings = [];
    this.filter = 0;
    this.gain = 1;
    this.cursor = null;
    this.show(0, 60, 0, 60);
  }

  /** [from, to) is shown, inside [low, high), seconds. */
  show(from, to, low, high) {
    Object.assign(this, { home: [from, to], from, to, low, high });
    this.draw();
  }

  move(from, to) {
    const width = Math.min(Math.max(to - from, 0.5), this.high - this.low);
    const middle = (from + to) / 2;
    this.from = Math.min(Math.max(middle - width / 2, this.low), this.high - width);
    this.to = this.from + width;
    this.draw();
  }

  zoom(factor, around = (this.from + this.to) / 2) {
    this.move(around - (around - this.from) * factor, around + (this.to - around) * factor);
  }

  pan(share) {
    const step = (this.to - this.from) * share;
    this.move(this.from + step, this.to + step);
  }

  reset() { this.move(...this.home); }

  amplify(factor) {
    this.gain = Math.min(Math.max(this.gain * factor, 1), 1024);
    this.draw();
  }

  nextFilter() {
    this.filter = (this.filter + 1) % FILTERS.length;
    this.draw();
    return FILTERS[this.filter].name;
  }

  draw() {
    if (this.due) return;
    this.due = requestAnimationFrame(() => {
      this.due = null;
      for (const drawing of this.drawings) drawing.draw();
    });
  }
}

// ---------------------------------------------------------------- the drawing

const STYLE = {
  P: { colour: "p", dash: [] },
  S: { colour: "s", dash: [7, 4] },
  N: { colour: "n", dash: [2, 3] },
};
const LEFT = 26, RIGHT = 10, TOP = 46, BOTTOM = 24, LEVELS = 3;

class Seismogram {
  /** rows: names of the sides of a stretch, each with a row of curves. */
  constructor(canvas, axes) {
    this.canvas = canvas;
    this.axes = axes;
    this.view = null;
    this.rows = [];
    this.reference = [];
    this.labelled = false;
    axes.drawings.push(this);
    new ResizeObserver(() => this.draw()).observe(canvas);
    this.listen();
  }

  load(view, rows) {
    Object.assign(this, { view, rows, reference: [], kept: {} });
    this.axes.draw();
  }

  listen() {
    const { canvas, axes } = this;
    const time = (event) => axes.from + ((event.offsetX - LEFT) / this.width) * (axes.to - axes.from);
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      if (Math.abs(event.deltaX) > Math.abs(event.deltaY)) axes.pan(Math.sign(event.deltaX) * 0.05);
      else axes.zoom(event.deltaY > 0 ? 1.2 : 1 / 1.2, time(event));
    }, { passive: false });
    let grip = null;
    canvas.addEventListener("pointerdown", (event) => {
      grip = { x: event.offsetX, from: axes.from, to: axes.to };
      canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (grip) {
        const by = ((grip.x - event.offsetX) / this.width) * (grip.to - grip.from);
        axes.move(grip.from + by, grip.to + by);
      }
      axes.cursor = time(event);
      axes.draw();
    });
    for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => { grip = null; });
    canvas.addEventListener("pointerleave", () => { axes.cursor = null; axes.draw(); });
    canvas.addEventListener("dblclick", () => axes.reset());
  }

  get width() { return this.canvas.clientWidth - LEFT - RIGHT; }

  x(time) { return LEFT + ((time - this.axes.from) / (this.axes.to - this.axes.from)) * this.width; }

  samples() {
    const { filter } = this.axes;
    if (this.kept.filter !== filter) {
      const rows = this.view.samples.map((row) => filtered(row, FILTERS[filter].band, this.view.rate));
      this.kept = { filter, rows };
    }
    return this.kept.rows;
  }

  draw() {
    const { canvas } = this;
    const scale = window.devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    if (!width || !height) return;
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
    const pen = canvas.getContext("2d");
    pen.scale(scale, scale);
    pen.clearRect(0, 0, width, height);
    if (!this.view) return;
    pen.font = "12px system-ui, sans-serif";
    const bottom = height - BOTTOM;
    const share = this.rows.length > 1 ? 0.55 : 0.72;
    const split = TOP + (bottom - TOP) * share;
    this.ground(pen, bottom);
    const tall = (split - TOP) / this.view.names.length;
    this.samples().forEach((row, k) => this.trace(pen, row, this.view.names[k], TOP + k * tall, tall));
    const low = (bottom - split) / this.rows.length;
    this.apart = this.rows.length > 1 ? 22 : 8;
    this.rows.forEach((side, k) => this.curves(pen, side, split + k * low + this.apart, low - this.apart));
    this.marks(pen, bottom, split, low);
    this.cursor(pen, bottom);
  }

  ground(pen, bottom) {
    const { axes, view } = this;
    const clip = (t) => Math.min(Math.max(this.x(t), LEFT), LEFT + this.width);
    pen.fillStyle = css("margin");
    pen.fillRect(LEFT, TOP, clip(0) - LEFT, bottom - TOP);
    pen.fillRect(clip(view.seconds), TOP, LEFT + this.width - clip(view.seconds), bottom - TOP);
    const step = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 60, 120].find((s) => (s / (axes.to - axes.from)) * this.width > 55) || 300;
    pen.strokeStyle = css("grid");
    pen.fillStyle = css("quiet");
    pen.lineWidth = 1;
    pen.textAlign = "center";
    for (let t = Math.ceil(axes.from / step) * step; t <= axes.to + 1e-9; t += step) {
      const x = Math.round(this.x(t)) + 0.5;
      pen.beginPath(); pen.moveTo(x, TOP); pen.lineTo(x, bottom); pen.stroke();
      if (x < LEFT + this.width - 20) pen.fillText(this.clock(t, step), x, bottom + 16);
    }
    pen.textAlign = "right";
    pen.fillText(this.zero === undefined ? "s" : "UTC", LEFT + this.width, bottom + 16);
  }

  clock(t, step) {
    if (this.zero === undefined) return t.toFixed(step < 1 ? 1 : 0);
    const s = this.zero + t;
    const two = (n) => String(Math.floor(n)).padStart(2, "0");
    return `${two(s / 3600)}:${two((s / 60) % 60)}:${step < 1 ? (s % 60).toFixed(1).padStart(4, "0") : two(s % 60 + 1e-6)}`;
  }

  /** The first and last sample in sight. */
  range() {
    const { view, axes } = this;
    const at = (t) => Math.min(Math.max(Math.round((t - view.first) * view.rate), 0), view.count);
    return [Math.max(at(axes.from) - 1, 0), Math.min(at(axes.to) + 2, view.count)];
  }

  trace(pen, row, name, top, tall) {
    const [start, stop] = this.range();
    let low = Infinity, high = -Infinity;
    for (let i = start; i < stop; i++) {
      if (row[i] < low) low = row[i];
      if (row[i] > high) high = row[i];
    }
    const middle = this.axes.gain > 1 ? median(row, start, stop) : (low + high) / 2;
    const half = Math.max((high - low) / 2, 1e-12) / this.axes.gain;
    const most = tall / 2 - 2;
    const y = (v) => top + tall / 2 - Math.max(Math.min(((v - middle) / half) * (tall / 2 - 5), most), -most);
    this.gaps(pen, row, start, stop, top, tall);
    pen.strokeStyle = css("trace");
    pen.lineWidth = 1;
    this.line(pen, row, start, stop, y, (v) => Number.isNaN(v));
    pen.fillStyle = css("quiet");
    pen.textAlign = "center";
    pen.font = "600 12px system-ui, sans-serif";
    pen.fillText(name, LEFT / 2, top + tall / 2 + 4);
    pen.font = "12px system-ui, sans-serif";
  }

  gaps(pen, row, start, stop, top, tall) {
    pen.fillStyle = css("gap");
    for (let i = start; i < stop; i++) {
      if (!Number.isNaN(row[i])) continue;
      const from = i;
      while (i < stop && Number.isNaN(row[i])) i++;
      const a = Math.max(this.x(this.view.first + from / this.view.rate), LEFT);
      const b = Math.min(this.x(this.view.first + i / this.view.rate), LEFT + this.width);
      pen.fillRect(a, top + 2, b - a, tall - 4);
    }
  }

  /** A row as a line; where samples are denser than pixels, the lowest and highest of each. */
  line(pen, row, start, stop, y, isNone) {
    const { view } = this;
    const x = (i) => this.x(view.first + i / view.rate);
    const dense = (stop - start) / this.width > 2;
    pen.save();
    pen.beginPath(); pen.rect(LEFT, 0, this.width, 1e5); pen.clip();
    pen.beginPath();
    let down = false;
    for (let i = start; i < stop; i++) {
      if (isNone(row[i])) { down = false; continue; }
      if (!dense) {
        if (down) pen.lineTo(x(i), y(row[i])); else pen.moveTo(x(i), y(row[i]));
        down = true;
        continue;
      }
      const column = Math.floor(x(i));
      let low = row[i], high = row[i], last = row[i];
      const first = row[i];
      while (i + 1 < stop && Math.floor(x(i + 1)) === column && !isNone(row[i + 1])) {
        last = row[++i];
        if (last < low) low = last;
        if (last > high) high = last;
      }
      if (down) pen.lineTo(column, y(first)); else pen.moveTo(column, y(first));
      pen.lineTo(column, y(low)); pen.lineTo(column, y(high)); pen.lineTo(column, y(last));
      down = true;
    }
    pen.stroke();
    pen.restore();
  }

  curves(pen, side, top, tall) {
    const [start, stop] = this.range();
    const y = (level) => top + tall - (level / 250) * (tall - 2) - 1;
    pen.lineWidth = 1;
    pen.strokeStyle = css("grid");
    pen.fillStyle = css("quiet");
    pen.textAlign = "right";
    for (const level of tall > 50 ? [0, 0.5, 1] : [0, 1]) {
      const at = Math.round(y(level * 250)) + 0.5;
      pen.beginPath(); pen.moveTo(LEFT, at); pen.lineTo(LEFT + this.width, at); pen.stroke();
      pen.fillText(String(level), LEFT - 4, at + 4);
    }
    for (const phase of ["N", "P", "S"]) {
      const row = this.view.sides[side].curves[phase];
      pen.strokeStyle = css(STYLE[phase].colour);
      pen.lineWidth = phase === "N" ? 1.2 : 2;
      pen.setLineDash(STYLE[phase].dash);
      this.line(pen, row, start, stop, y, (v) => v === 255);
    }
    pen.setLineDash([]);
    if (this.rows.length > 1) {
      pen.font = "600 12px system-ui, sans-serif";
      pen.textAlign = "left";
      pen.fillStyle = css("ink");
      pen.fillText(side, LEFT, top - 6);
      pen.font = "12px system-ui, sans-serif";
    }
  }

  /** Picks as lines with a label; of several sides, each in its own row of curves. */
  marks(pen, bottom, split, low) {
    const several = this.rows.length > 1;
    this.rows.forEach((side, k) => {
      const [top, end] = several ? [split + k * low + this.apart, split + (k + 1) * low] : [TOP, bottom];
      const ends = Array(LEVELS).fill(-Infinity);
      for (const pick of this.view.sides[side].picks) {
        const x = this.x(pick.time);
        if (x < LEFT || x > LEFT + this.width) continue;
        const { colour, dash } = STYLE[pick.phase];
        this.upright(pen, x, several ? TOP : top, several ? split : end, css(colour), dash, several ? 0.35 : 1);
        if (several) this.upright(pen, x, top, end, css(colour), dash, 1);
        if (!several) this.label(pen, `${pick.phase} ${pick.probability.toFixed(2)}`, x, 13 + 14 * freeLevel(ends, x, 46), css(colour));
      }
    });
    const ends = Array(LEVELS).fill(-Infinity);
    for (const mark of this.reference) {
      const x = this.x(mark.time);
      if (x < LEFT || x > LEFT + this.width) continue;
      this.upright(pen, x - 1.5, TOP, bottom, css("ref"), [], 0.9, 1);
      this.upright(pen, x + 1.5, TOP, bottom, css("ref"), [], 0.9, 1);
      this.label(pen, `ref ${mark.phase}`, x, split - 6 - 14 * freeLevel(ends, x, 40), css("ref"));
    }
  }

  upright(pen, x, top, bottom, colour, dash, alpha, width = 1.8) {
    pen.save();
    Object.assign(pen, { globalAlpha: alpha, strokeStyle: colour, lineWidth: width });
    pen.setLineDash(dash);
    pen.beginPath(); pen.moveTo(x, top); pen.lineTo(x, bottom); pen.stroke();
    pen.restore();
  }

  label(pen, text, x, y, colour) {
    pen.save();
    pen.font = "600 11px system-ui, sans-serif";
    const wide = pen.measureText(text).width + 8;
    const left = Math.min(Math.max(x - wide / 2, LEFT), LEFT + this.width - wide);
    pen.fillStyle = css("card");
    pen.fillRect(left, y - 10, wide, 14);
    pen.fillStyle = colour;
    pen.textAlign = "left";
    pen.fillText(text, left + 4, y + 1);
    pen.restore();
  }

  cursor(pen, bottom) {
    const { cursor } = this.axes;
    if (cursor === null || cursor < this.axes.from || cursor > this.axes.to) return;
    this.upright(pen, this.x(cursor), TOP, bottom, css("quiet"), [1, 3], 0.9, 1);
    this.label(pen, this.zero === undefined ? `${cursor.toFixed(2)} s` : this.clock(cursor, 0.1), this.x(cursor), bottom + 16, css("ink"));
  }
}

/** The first level on which a label about x does not cover the one before; the last where none is. */
function freeLevel(ends, x, width) {
  const free = ends.findIndex((end) => end <= x - width / 2);
  const level = free < 0 ? ends.length - 1 : free;
  ends[level] = x + width / 2;
  return level;
}

/** Buttons and keys that move the axes. Returns a handler of key presses, true where one was used. */
function controls(axes) {
  const filter = () => { $("filter-name").textContent = `Filter: ${axes.nextFilter()}`; };
  $("filter").addEventListener("click", filter);
  $("zoom-in").addEventListener("click", () => axes.zoom(1 / 1.5));
  $("zoom-out").addEventListener("click", () => axes.zoom(1.5));
  $("pan-left").addEventListener("click", () => axes.pan(-0.25));
  $("pan-right").addEventListener("click", () => axes.pan(0.25));
  $("reset").addEventListener("click", () => axes.reset());
  const amplify = (factor) => { axes.amplify(factor); $("gain").textContent = `×${axes.gain}`; };
  $("taller").addEventListener("click", () => amplify(2));
  $("flatter").addEventListener("click", () => amplify(0.5));
  const keys = {
    ArrowUp: () => amplify(2), ArrowDown: () => amplify(0.5),
    f: filter, "+": () => axes.zoom(1 / 1.5), "=": () => axes.zoom(1 / 1.5), "-": () => axes.zoom(1.5),
    ",": () => axes.pan(-0.25), ".": () => axes.pan(0.25), 0: () => axes.reset(),
  };
  return (key) => { const does = keys[key]; if (does) does(); return Boolean(does); };
}

function onKey(handle) {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, textarea")) return;
    // A button in focus takes Enter and the space bar for itself.
    if (["Enter", " "].includes(event.key) && event.target.closest("button, a")) return;
    if (handle(event.key.length === 1 ? event.key.toLowerCase() : event.key)) event.preventDefault();
  });
}

const element = (tag, text, more = {}) => Object.assign(document.createElement(tag), { textContent: text }, more);

function table(columns, rows) {
  const made = document.createElement("table");
  const head = made.createTHead().insertRow();
  for (const [title, , kind] of columns) head.append(element("th", title, { scope: "col", className: kind || "" }));
  const body = made.createTBody();
  for (const row of rows) {
    const line = body.insertRow();
    for (const [, value, kind] of columns) {
      const cell = line.insertCell();
      cell.className = kind || "";
      const content = value(row);
      cell.append(content === null || content === undefined ? "–" : content);
    }
  }
  return made;
}

const count = (n) => (n === null || n === undefined ? "–" : Number(n).toLocaleString("en"));

// ---------------------------------------------------------------- the arena

const VERDICT = { left: "Left is better", right: "Right is better", tie: "A tie", both_bad: "Both are bad", skip: "Skipped" };

/** `unknown | 0-10 dB | BG` in words. */
function stratum(text) {
  const parts = text.split(" | ");
  const of = ["distance", "signal to noise", "network"];
  return parts.length === of.length ? parts.map((part, k) => (part === "unknown" ? `${of[k]} unknown` : part)).join(" · ") : text;
}

/** Two candidates on the same window, and what is told of them after the vote. */
class Sides {
  constructor() {
    this.axes = new Axes();
    this.drawings = { left: new Seismogram($("left").querySelector("canvas"), this.axes), right: new Seismogram($("right").querySelector("canvas"), this.axes) };
  }

  load(view) {
    for (const side of ["left", "right"]) {
      this.title(side, side === "left" ? "Left" : "Right");
      this.drawings[side].load(view, [side]);
      this.picks(side, view.sides[side].picks);
    }
    this.axes.show(0, view.seconds, view.first, view.first + view.count / view.rate);
  }

  title(side, text) { $(side).querySelector("h2").textContent = text; }

  picks(side, marks) {
    const list = $(side).querySelector("ul");
    const items = marks.filter((m) => m.time >= 0 && m.time < this.drawings[side].view.seconds).map((mark) => {
      const item = element("li", "", { className: mark.phase });
      item.append(element("b", mark.phase), ` ${mark.time.toFixed(2)} s`, mark.probability === undefined ? "" : ` · ${mark.probability.toFixed(2)}`);
      return item;
    });
    list.replaceChildren(...(items.length ? items : [element("li", "no picks")]));
    $(side).querySelector("canvas").setAttribute("aria-label", `Three-component waveforms with the picks and curves of the ${side} side: ${list.innerText || list.textContent}`);
  }

  tell(told, battle) {
    const list = document.createElement("dl");
    const row = (name, ...content) => { const value = element("dd", ""); value.append(...content); list.append(element("dt", name), value); };
    for (const side of ["left", "right"]) {
      const { name, weights, thresholds } = told[side];
      this.title(side, `${side === "left" ? "Left" : "Right"}: ${name}`);
      const at = Object.entries(thresholds).map(([phase, t]) => `${phase} ≥ ${Number(t.toFixed(3))}`).join(", ");
      row(side === "left" ? "Left" : "Right", element("b", name), ` · ${at} · weights `, element("code", weights.slice(0, 12)));
      this.drawings[side].reference = told.arrivals || [];
    }
    this.axes.draw();
    if (told.trace) {
      const day = told.start.slice(0, 10);
      const second = (Date.parse(told.start) - Date.parse(`${day}T00:00:00Z`)) / 1000;
      row("Window", element("a", `${told.trace} ${told.start.replace("T", " ").replace("+00:00", "")} UTC`, { href: `/day?trace=${encodeURIComponent(told.trace)}&day=${day}&start=${Math.max(0, Math.floor(second) - 20)}` }));
    }
    if (told.trace_name) row("Trace", `${told.trace_name} of ${told.dataset}`);
    if (told.arrivals) row("Reference", told.arrivals.length ? told.arrivals.map((m) => `${m.phase} ${m.time.toFixed(2)} s`).join(", ") : "none near");
    if (told.stratum) row("Drawn from", stratum(told.stratum));
    if (battle) row("Address", element("a", "this battle, with its votes and the rule", { href: `/arena/battle/${battle}` }));
    $("told").replaceChildren(element("h2", "Who it was"), list);
    $("told").hidden = false;
  }
}

class ArenaPage {
  constructor() {
    this.sides = new Sides();
    this.axes = this.sides.axes;
    this.state = "waiting"; // judging, voted, revealed
    this.last = null; // the vote that can be taken back
    this.ahead = null;
    const moved = controls(this.axes);
    for (const button of $("ballot").children) button.addEventListener("click", () => this.vote(button.dataset.answer));
    $("skip").addEventListener("click", () => this.vote("skip"));
    $("undo").addEventListener("click", () => this.undo());
    $("reveal").addEventListener("click", () => this.reveal());
    $("next").addEventListener("click", () => this.next());
    const keys = {
      ArrowLeft: () => this.vote("left"), ArrowRight: () => this.vote("right"), t: () => this.vote("tie"),
      b: () => this.vote("both_bad"), s: () => this.vote("skip"), u: () => this.undo(), n: () => this.next(),
      Enter: () => (this.state === "voted" ? this.reveal() : this.next()),
    };
    onKey((key) => {
      if ($("stage").hidden) return false;
      if (keys[key]) { keys[key](); return true; }
      return moved(key);
    });
    this.name = localStorage.getItem("annotator") || "";
    $("annotator").value = this.name;
    $("who").hidden = false;
    $("who").addEventListener("submit", (event) => {
      event.preventDefault();
      this.name = $("annotator").value.trim();
      if (!this.name) return;
      localStorage.setItem("annotator", this.name);
      $("annotator").blur(); // keys are for the arena from here on
      $("who").hidden = true;
      this.turn(() => this.post("next"));
    });
    $("annotator").focus();
  }

  post(what, more = {}) { return ask(`/api/arena/${what}`, { annotator: this.name, ...more }); }

  /** One thing at a time; whatever goes wrong is said, and the buttons come back. */
  async turn(get) {
    if (this.busy) return;
    this.busy = true;
    try {
      this.show(await get());
    } catch (error) {
      say(error.message, true);
    } finally {
      this.busy = false;
      this.buttons();
    }
  }

  show(battle) {
    this.progress(battle.progress);
    $("told").hidden = true;
    $("told").replaceChildren(); // no name of the battle before stays behind
    if (!battle.battle) {
      this.state = "waiting";
      $("stage").hidden = true;
      say(battle.progress.possible ? "There is nothing left to judge. Thank you." : "There is nothing to judge here.");
      return;
    }
    $("stage").hidden = false;
    this.battle = battle.battle;
    this.sides.load(unpacked(battle.view));
    this.state = "judging";
    this.chosen = null;
    this.shownAt = performance.now();
    say("Which picks would you rather have?");
    this.buttons();
  }

  progress(p) {
    const agree = p.alpha === null || p.repeats < 10 ? "" : ` · agreement α ${p.alpha.toFixed(2)}`;
    const people = p.annotators === 1 ? "1 person" : `${p.annotators} people`;
    $("progress").textContent = `${this.name}: ${count(p.mine)} · all: ${count(p.all)} of ${count(p.possible)} battles, ${people} · ${count(p.repeats)} repeats${agree}`;
  }

  buttons() {
    for (const button of $("ballot").children) {
      button.disabled = this.state !== "judging" || this.busy;
      button.setAttribute("aria-pressed", String(this.chosen === button.dataset.answer));
    }
    $("skip").disabled = this.state !== "judging";
    $("undo").disabled = !this.last;
    $("reveal").disabled = this.state !== "voted";
    $("next").disabled = !["voted", "revealed"].includes(this.state);
    for (const side of ["left", "right"]) $(side).classList.toggle("chosen", this.chosen === side);
  }

  async vote(answer) {
    if (this.state !== "judging" || this.busy) return;
    this.busy = true;
    const vote = uuid();
    const latency_ms = Math.round(performance.now() - this.shownAt);
    try {
      const reply = await this.post("vote", { vote, battle: this.battle, answer, latency_ms });
      this.last = vote;
      this.chosen = answer;
      this.state = "voted";
      this.progress(reply.progress);
      this.ahead = this.post("next");
      this.ahead.catch(() => {});
      say(`${VERDICT[answer]}. U takes it back, Enter tells who it was, N goes on.`);
    } catch (error) {
      say(error.message, true);
    } finally {
      this.busy = false;
      this.buttons();
    }
    if (answer === "skip" && this.state === "voted") this.next();
  }

  next() {
    if (!["voted", "revealed"].includes(this.state)) return;
    const ahead = this.ahead;
    this.ahead = null;
    this.turn(() => ahead?.catch(() => this.post("next")) ?? this.post("next"));
  }

  undo() {
    if (!this.last) return;
    const undoes = this.last;
    this.turn(async () => {
      const battle = await this.post("undo", { vote: uuid(), undoes });
      this.last = null;
      this.ahead = null;
      return battle;
    });
  }

  async reveal() {
    if (this.state !== "voted" || this.busy) return;
    this.busy = true;
    try {
      this.sides.tell(await this.post("reveal", { vote: this.last }), this.battle);
      this.last = null; // who knows the names cannot vote blindly again
      this.state = "revealed";
      say("Enter or N goes on.");
    } catch (error) {
      say(error.message, true);
    } finally {
      this.busy = false;
      this.buttons();
    }
  }
}

// ---------------------------------------------------------------- one battle, afterwards

const VERDICTS = { tie: "a tie", both_bad: "both are bad" };
const said = (text) => VERDICTS[text] || `${text} is better`;

class BattlePage {
  constructor() {
    this.battle = location.pathname.split("/").pop();
    this.sides = new Sides();
    this.axes = this.sides.axes;
    onKey(controls(this.axes));
    this.name = localStorage.getItem("annotator") || "";
    $("who").addEventListener("submit", (event) => {
      event.preventDefault();
      this.name = $("annotator").value.trim();
      if (!this.name) return;
      localStorage.setItem("annotator", this.name);
      this.open();
    });
    if (this.name) this.open();
    else this.ask();
  }

  /** Who are you: a battle is shown to who voted on it, one of the rule to who is not to judge it. */
  ask() {
    say("");
    $("annotator").value = this.name;
    $("who").hidden = false;
    $("annotator").focus();
  }

  async open() {
    try {
      const told = await ask("/api/arena/battle", { battle: this.battle, annotator: this.name });
      $("who").hidden = true;
      $("stage").hidden = false;
      this.sides.load(unpacked(told.view));
      this.sides.tell(told.told);
      for (const side of ["left", "right"]) $(side).classList.toggle("chosen", told.answer === side);
      this.judges(told);
      say(told.answer ? `You said: ${VERDICT[told.answer].toLowerCase()}.` : "A battle that the rule decided.");
    } catch (error) {
      this.ask();
      say(error.message, true);
    }
  }

  judges({ told, votes, rulings }) {
    const names = [told.left.name, told.right.name];
    const errors = (ruling) => names.map((name) => {
      const { errors, residual_s } = ruling.sides[name];
      return `${name}: ${errors} ${errors === 1 ? "error" : "errors"}${residual_s === null ? "" : `, ${(1000 * residual_s).toFixed(0)} ms off`}`;
    }).join("; ");
    const rows = [
      ...votes.map((vote) => [vote.annotator, said(vote.said), vote.cast.slice(0, 16).replace("T", " ")]),
      ...rulings.map((ruling) => ["the rule", said(ruling.said), `${errors(ruling)}; thresholds: ${ruling.thresholds}`]),
    ];
    const heading = element("h2", "What was said");
    $("judges").replaceChildren(heading, rows.length
      ? wrapped(table([["Judge", ([who]) => who], ["Verdict", ([, verdict]) => verdict], ["", ([, , more]) => more]], rows))
      : element("p", "Nobody has judged this pair on this window.", { className: "quiet" }));
  }
}

// ---------------------------------------------------------------- coverage

async function indexPage() {
  try {
    const [status, days] = await Promise.all([ask("/api/status"), ask("/api/days")]);
    $("catalog").textContent = status.catalog;
    const outcomes = [...new Set(Object.values(status.candidates).flatMap((c) => Object.keys(c.outcomes)))].sort();
    $("candidates").append(table(
      [["Candidate", ([name]) => name], ["Picks", ([, c]) => count(c.picks), "number"],
        ...outcomes.map((o) => [o[0].toUpperCase() + o.slice(1).replace("_", " "), ([, c]) => count(c.outcomes[o] || 0), "number"])],
      Object.entries(status.candidates)));
    $("runs").append(table(
      [["Run", (r) => element("code", r.run.slice(0, 12))], ["Campaign", (r) => r.name], ["State", (r) => r.state],
        ["Station-days", (r) => count(r.planned), "number"], ["Left", (r) => count(r.left), "number"],
        ["Station-days an hour", (r) => count(r.rate === null ? null : Math.round(r.rate)), "number"],
        ["Started", (r) => (r.started ? String(r.started).slice(0, 16).replace("T", " ") : null)]],
      status.runs));
    if (status.reasons.length) {
      $("reasons-section").hidden = false;
      $("reasons").append(table(
        [["Candidate", (r) => r.candidate], ["Outcome", (r) => r.outcome], ["Station-days", (r) => count(r.station_days), "number"], ["Reason", (r) => r.detail], ["Such as", (r) => r.station_day]],
        status.reasons));
    }
    const link = (row) => element("a", row.trace, { href: `/day?trace=${encodeURIComponent(row.trace)}&day=${row.day}` });
    $("days").append(table(
      [["Trace", link], ["Day", (r) => r.day], ["Hours", (r) => (r.seconds / 3600).toFixed(2), "number"], ["Picks", (r) => count(r.picks), "number"],
        ["Outcomes", (r) => Object.entries(r.outcomes).map(([c, o]) => `${c}: ${o}`).join(", ")]],
      days));
    say(status.left ? `${count(status.left)} station-days × candidates are planned and have no outcome yet.` : "Every planned station-day has its outcome.");
  } catch (error) {
    say(error.message, true);
  }
}

// ---------------------------------------------------------------- a station-day

const LONG = 120;

class DayPage {
  constructor() {
    const query = new URLSearchParams(location.search);
    [this.trace, this.day] = [query.get("trace") || "", query.get("day") || ""];
    this.start = Number(query.get("start") || NaN);
    this.axes = new Axes();
    this.drawing = new Seismogram($("stretch"), this.axes);
    const moved = controls(this.axes);
    onKey(moved);
    $("before").addEventListener("click", () => this.go(this.start - LONG));
    $("after").addEventListener("click", () => this.go(this.start + LONG));
    $("overview").addEventListener("click", (event) => this.go(((event.offsetX - 90) / ($("overview").clientWidth - 100)) * 86400 - LONG / 2));
    new ResizeObserver(() => this.overview()).observe($("overview"));
    document.addEventListener("theme", () => this.overview());
    $("title").textContent = `${this.trace} ${this.day}`;
    this.open();
  }

  async open() {
    try {
      this.known = await ask(`/api/day?trace=${encodeURIComponent(this.trace)}&day=${this.day}`);
      const first = Math.min(...Object.values(this.known.picks).flat().map((p) => p.time));
      say(Object.entries(this.known.candidates).map(([name, row]) => `${name}: ${row.outcome}, ${count((this.known.picks[name] || []).length)} picks`).join(" · "));
      this.overview();
      await this.go(Number.isNaN(this.start) ? (Number.isFinite(first) ? first - 20 : 0) : this.start);
    } catch (error) {
      say(error.message, true);
    }
  }

  async go(start) {
    this.start = Math.min(Math.max(Math.floor(start), 0), 86400 - LONG);
    $("where").textContent = "Reading…";
    try {
      const view = unpacked(await ask(`/api/stretch?trace=${encodeURIComponent(this.trace)}&day=${this.day}&start=${this.start}&seconds=${LONG}`));
      this.drawing.zero = this.start;
      this.drawing.load(view, Object.keys(view.sides));
      this.axes.show(0, view.seconds, 0, view.seconds);
      $("where").textContent = `${this.drawing.clock(0, 1)} to ${this.drawing.clock(LONG, 1)} UTC`;
      $("stretch").setAttribute("aria-label", `Waveforms, curves and picks of ${this.trace} from ${this.drawing.clock(0, 1)}`);
      this.overview();
    } catch (error) {
      $("where").textContent = "";
      say(error.message, true);
    }
  }

  overview() {
    const canvas = $("overview"), scale = window.devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    if (!this.known || !width) return;
    canvas.width = width * scale;
    canvas.height = height * scale;
    const pen = canvas.getContext("2d");
    pen.scale(scale, scale);
    pen.font = "12px system-ui, sans-serif";
    const x = (t) => 90 + (t / 86400) * (width - 100);
    pen.strokeStyle = css("accent");
    pen.lineWidth = 2;
    pen.strokeRect(x(this.start + LONG / 2) - 4, 1, 8, height - 20);
    pen.fillStyle = css("quiet");
    pen.textAlign = "center";
    for (let hour = 0; hour <= 24; hour += width < 600 ? 6 : 3) pen.fillText(`${String(hour).padStart(2, "0")} h`, Math.min(x(hour * 3600), width - 14), height - 5);
    const names = Object.keys(this.known.candidates);
    const tall = (height - 22) / names.length;
    names.forEach((name, k) => {
      pen.fillStyle = css("ink");
      pen.textAlign = "left";
      pen.fillText(name, 6, k * tall + tall / 2 + 4, 80);
      for (const pick of this.known.picks[name] || []) {
        pen.fillStyle = css(STYLE[pick.phase].colour);
        pen.fillRect(x(pick.time), k * tall + (pick.phase === "P" ? 4 : tall / 2), 1.5, tall / 2 - 4);
      }
    });
  }
}

// ---------------------------------------------------------------- the board

const points = (value, low, high) => (value === null ? null : `${value.toFixed(0)} (${low === null ? "?" : low.toFixed(0)} to ${high === null ? "?" : high.toFixed(0)})`);
const percent = (value, low, high) => (value === null ? null : `${(100 * value).toFixed(0)}\u00a0%` + (low === null ? "" : ` (${(100 * low).toFixed(0)} to ${(100 * high).toFixed(0)})`));

async function boardPage() {
  try {
    const told = await ask("/api/board");
    if (!told.battles) return say("Nobody has voted yet.");
    const rows = told.board;
    $("boards").append(element("h2", "Leaderboard"), wrapped(table(
      [["", (r) => r.rank, "number"], ["Candidate", (r) => r.candidate], ["Rating (95 %)", (r) => points(r.rating, r.low, r.high), "number"],
        ["Battles", (r) => count(r.battles), "number"], ["Windows", (r) => count(r.windows), "number"], ["Won", (r) => count(r.wins), "number"],
        ["Lost", (r) => count(r.losses), "number"], ["Ties", (r) => count(r.ties), "number"], ["Both bad", (r) => count(r.both_bad), "number"]],
      rows)));
    if (rows[0].status !== "rated") $("boards").append(element("p", `No ratings: ${rows[0].status}. ${rows[0].detail}.`, { className: "quiet" }));
    $("boards").append(element("h2", "Who beats whom"), matrix(told.pairs));
    const bias = told.sides.alarm ? " The bias is separated from zero." : "";
    $("boards").append(element("h2", "How far to trust it"), element("p", `The left side won ${told.sides.left} and the right ${told.sides.right}.${bias} Agreement on repeats: ${told.alpha === null ? "not known yet" : `α ${told.alpha.toFixed(2)}`}.`));
    if (told.agreement) $("boards").append(element("h2", "People beside the rule"), agreement(told.agreement));
    say(`${count(told.battles)} votes that stand. Automatic battles are never counted here.`);
  } catch (error) {
    say(error.message, true);
  }
}

const wrapped = (content) => { const box = element("div", "", { className: "scroll" }); box.append(content); return box; };

/** How often a vote says what the rule says of the same pair on the same window. */
function agreement(rows) {
  const [every, decisive] = rows;
  if (!every.votes) return element("p", "No vote is on a battle that the rule has judged. `tidepick arena battle` judges what people were shown.");
  const share = (row) => `${percent(row.rate, row.low, row.high)}, ${count(row.agreed)} of ${count(row.votes)} votes`;
  const more = decisive.votes ? ` Where both name a winner: ${share(decisive)}.` : "";
  return element("p", `A vote says what the rule says of the same battle: ${share(every)}, on ${count(every.windows)} ${every.windows === 1 ? "window" : "windows"}.${more}`);
}

function matrix(pairs) {
  const names = [...new Set(pairs.map((p) => p.candidate))].sort();
  const of = (a, b) => pairs.find((p) => p.candidate === a && p.opponent === b);
  return wrapped(table(
    [["wins of, against", (name) => element("b", name)], ...names.map((other) => [other, (name) => {
      const pair = of(name, other);
      return pair && pair.battles ? `${percent(pair.win_rate, pair.low, pair.high)} of ${pair.battles}` : null;
    }, "number"])],
    names));
}

// ---------------------------------------------------------------- every page

function theme(name) {
  document.documentElement.dataset.theme = name;
  document.dispatchEvent(new Event("theme"));
}

const dark = matchMedia("(prefers-color-scheme: dark)");
theme(localStorage.getItem("theme") || (dark.matches ? "dark" : "light"));
$("theme").addEventListener("click", () => {
  const name = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
  localStorage.setItem("theme", name);
  theme(name);
});
const page = document.body.dataset.page;
document.querySelector(`nav [data-name="${page}"]`)?.setAttribute("aria-current", "page");
const opened = { index: indexPage, arena: () => new ArenaPage(), battle: () => new BattlePage(), day: () => new DayPage(), board: boardPage }[page]();
document.addEventListener("theme", () => opened.axes?.draw());
