// @ts-check
/* The page docs/train.md: networks that train in a worker, drawn once a frame, with their setting in the address.
 * vg.js fetches this file when a page holds a `.vg-train` and calls `vg.train` with it. What trains stands in engine.js,
 * which is fetched once it is wanted: when the address names a setting, or when the section is approached or played. Until
 * then the page shows its still figure, measured with PyTorch at build.
 */
(() => {
  "use strict";
  const HERE = /** @type {HTMLScriptElement} */ (document.currentScript).src;
  const NOT_OURS = ["h", "q"]; // of Material's search
  const SHARED = ["data", "batch", "seed", "length"]; // two networks see the same batches, or they could not be compared
  const COLUMNS = 240; // of the strip; then two become one, so that it always begins at step 0
  const SLICE = 12; // ms of training that are asked for at once
  const SPOKEN = 6000; // ms between two summaries in words

  /** @typedef {Record<string, any>} Setting a value for each key of vgTrain.OPTIONS */
  /** @typedef {{ step: number, loss: any, accuracy?: any, gradients: any[], [key: string]: any }} State */

  /** @param {string} tag @param {object} properties @param {(Node | string)[]} children */
  const make = (tag, properties = {}, ...children) => {
    const element = Object.assign(document.createElement(tag), properties);
    return element.append(...children), element;
  };
  const engine = () => /** @type {any} */ (window).vgTrain;
  /** A script of this folder, fetched once; again after it failed. @type {Record<string, Promise<void>>} */
  const loading = {};
  /** @param {string} name */
  const load = name => (loading[name] ??= new Promise((resolve, reject) => {
    const onerror = () => (delete loading[name], reject(new Error(`The part of this page that trains, ${name}, could not be loaded.`)));
    document.body.append(make("script", { src: new URL(name, HERE), onload: () => resolve(), onerror }));
  }));

  // ---- Numbers ---------------------------------------------------------------------------------------------------
  /** @type {Record<string, number>} */
  const WORDS = { nan: NaN, inf: Infinity, "-inf": -Infinity };
  /** @param {any} value a number, or how JSON tells one that isn't finite @returns {number} */
  const real = value => WORDS[value] ?? value;
  /** @param {number} exponent */
  const power = exponent => `10${String(exponent).replace(/./g, digit => "⁰¹²³⁴⁵⁶⁷⁸⁹⁻"["0123456789-".indexOf(digit)])}`;
  /** 0.41, 17, 4.6 × 10⁻⁹, NaN, infinity. @param {any} value */
  function number(value, digits = 2) {
    const x = real(value), size = Math.abs(x);
    if (!Number.isFinite(x)) return Number.isNaN(x) ? "NaN" : x > 0 ? "infinity" : "−infinity";
    if (!x || (size >= 0.01 && size < 1e4)) return String(Number(x.toPrecision(digits))).replace("-", "−");
    const [mantissa, exponent] = x.toExponential(digits - 1).split("e");
    return `${mantissa.replace("-", "−")}\u00a0×\u00a0${power(Number(exponent))}`; // on one line
  }
  /** The decimal logarithm of a norm over the last one's; ±99 where that is infinity or zero. @param {any} norm @param {any} last */
  function decades(norm, last) {
    const [a, b] = [real(norm), real(last)];
    if (a === 0 && !Number.isNaN(b)) return -99;
    const log = Math.log10(a) - Math.log10(b);
    return Math.max(-99, Math.min(99, log));
  }

  // ---- What became of the gradient ---------------------------------------------------------------------------------
  /** By the first layer's norm over the last one's, with the bounds of the explorer. @param {Setting} setting @param {State} state */
  function tell({ net }, { gradients, loss }) {
    const recurrent = net !== "mlp", name = (/** @type {number} */ i) => (recurrent ? `step ${i + 1}` : i === gradients.length - 1 ? "the output layer" : `layer ${i + 1}`);
    const lost = gradients.findLastIndex(value => !Number.isFinite(real(value)));
    if (lost >= 0 || !Number.isFinite(real(loss))) {
      const where = lost >= 0 ? `, the gradient ${number(gradients[lost])} at ${name(lost)}` : "";
      return { role: "exploding", word: "It leaves the numbers:", text: `the loss is ${number(loss)}${where}.` };
    }
    if (gradients.every(value => real(value) === 0)) return { role: "vanishing", word: "It is zero:", text: "no layer gets any gradient." };
    const ratio = real(gradients[0]) / real(gradients.at(-1)), log = decades(gradients[0], gradients.at(-1)), last = recurrent ? "last step’s" : "output’s";
    const [role, word] = log < -3 ? ["vanishing", "vanishes"] : log > 3 ? ["exploding", "explodes"] : log < -1 ? ["vanishing", "fades"] : log > 1 ? ["exploding", "grows"] : ["healthy", "arrives"];
    return { role, word: `It ${word}:`, text: `${name(0)} gets ${number(ratio)}${ratio < 1 ? "" : " times"} of the ${last}.`.replace(" times of", " times") };
  }

  // ---- History -----------------------------------------------------------------------------------------------------
  /** All steps since the first in at most so many columns: the strip's, the loss's and the accuracy's. */
  class History {
    per = 1; // steps to a column
    /** @type {{ n: number, rows: Float64Array, loss: number, accuracy: number }[]} means */
    columns = [];

    /** @param {State} state */
    add({ gradients, loss, accuracy }) {
      const last = gradients.at(-1), rows = Float64Array.from(gradients, norm => decades(norm, last));
      const one = { n: 1, rows, loss: real(loss), accuracy: real(accuracy ?? NaN) };
      const { columns } = this, open = columns.at(-1);
      if (open && open.n < this.per) return void (columns[columns.length - 1] = History.join(open, one));
      columns.push(one);
      if (columns.length < COLUMNS) return;
      this.columns = columns.flatMap((column, i) => (i % 2 ? [] : columns[i + 1] ? History.join(column, columns[i + 1]) : column));
      this.per *= 2;
    }

    /** @param {History["columns"][0]} a @param {History["columns"][0]} b */
    static join(a, b) {
      const n = a.n + b.n, mean = (/** @type {number} */ x, /** @type {number} */ y) => (x * a.n + y * b.n) / n;
      const rows = a.rows.map((value, i) => mean(value, b.rows[i]));
      return { n, rows, loss: mean(a.loss, b.loss), accuracy: mean(a.accuracy, b.accuracy) };
    }
  }

  // ---- Drawing -----------------------------------------------------------------------------------------------------
  /** @typedef {{ token: (name: string) => string, rgb: (color: string) => number[], heat: (log: number) => number[], font: string }} Look */

  /** The tokens of vg.css that hold in an element, and the strip's colour of each number of decades. @param {Element} scope @returns {Look} */
  function look(scope) {
    const css = getComputedStyle(scope), token = (/** @type {string} */ name) => css.getPropertyValue(`--vg-${name}`).trim();
    const pen = /** @type {CanvasRenderingContext2D} */ (document.createElement("canvas").getContext("2d", { willReadFrequently: true }));
    const rgb = (/** @type {string} */ color) => {
      pen.fillStyle = color;
      pen.fillRect(0, 0, 1, 1);
      return [...pen.getImageData(0, 0, 1, 1).data];
    };
    /** @type {Record<string, number[]>} */
    const known = {};
    const heat = (/** @type {number} */ log) => (known[log.toFixed(1)] ??= rgb(colour(Number(log.toFixed(1)))));
    const mix = (/** @type {string} */ a, /** @type {number} */ share, /** @type {string} */ b) =>
      `color-mix(in oklab, ${a} ${100 * Math.max(0, Math.min(1, share))}%, ${b})`;
    const colour = (/** @type {number} */ log) => {
      if (Number.isNaN(log)) return token("ink");
      const way = log < 0 ? "vanishing" : "exploding", size = Math.abs(log); // healthy up to 0.5, and from 3 on darker and darker
      return mix(mix(token(`${way}-3`), (size - 3) / 15, token(way)), (size - 0.5) / 2.5, token("healthy"));
    };
    return { token, rgb, heat, font: token("sans") };
  }

  /** A canvas of its element's size, cleared, in pixels of the page. @param {HTMLCanvasElement} canvas */
  function sheet(canvas) {
    const { clientWidth: width, clientHeight: height } = canvas, scale = devicePixelRatio || 1;
    if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
      Object.assign(canvas, { width: Math.round(width * scale), height: Math.round(height * scale) });
    }
    const pen = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    pen.clearRect(0, 0, width, height);
    return { pen, width, height };
  }

  /** @param {CanvasRenderingContext2D} pen @param {Look} its */
  function writer(pen, { token, font }) {
    pen.font = `11px ${font}`;
    return (/** @type {string} */ text, /** @type {number} */ x, /** @type {number} */ y, /** @type {CanvasTextAlign} */ align = "left", color = "ink-3") => {
      Object.assign(pen, { fillStyle: token(color), textAlign: align, textBaseline: "middle" });
      pen.fillText(text, x, y);
    };
  }

  /** @param {CanvasRenderingContext2D} pen @param {string} color @param {[number, number][]} points */
  function line(pen, color, points, width = 1.5, /** @type {number[]} */ dash = []) {
    Object.assign(pen, { strokeStyle: color, lineWidth: width, lineJoin: "round" });
    pen.setLineDash(dash);
    pen.beginPath();
    let down = false;
    for (const [x, y] of points) {
      if (!Number.isFinite(x) || !Number.isFinite(y)) down = false;
      else if (down) pen.lineTo(x, y);
      else pen.moveTo(x, y), (down = true);
    }
    pen.stroke();
    pen.setLineDash([]);
  }

  /** What the profile may show: values per layer, and whether on a logarithmic axis. */
  /** @type {Record<string, { title: string, log: boolean, lists: string[] }>} */
  const VIEWS = {
    gradients: { title: "gradient", log: true, lists: ["gradients"] },
    updates: { title: "update ÷ weights", log: true, lists: ["updates"] },
    units: { title: "saturated, dead", log: false, lists: ["saturated", "dead"] },
    signal: { title: "signal, rms", log: true, lists: ["signal"] },
  };
  const LEFT = 34, TOP = 22, FOOT = 22, GAP = 14;

  // ---- A network ---------------------------------------------------------------------------------------------------
  class Net {
    /** @param {Setting} setting @param {string} name */
    constructor(setting, name) {
      this.setting = setting;
      this.guesses = setting.data === "digits" ? 10 : setting.net === "mlp" ? 2 : 4; // classes to choose from
      this.history = new History();
      /** @type {State | null} */
      this.state = null;
      /** @type {State | null} */
      this.first = null;
      /** @type {any} */
      this.classes = null;
      const part = (/** @type {string} */ tag, /** @type {string} */ kind, properties = {}) => make(tag, { className: `vg-train-${kind}`, ...properties });
      this.verdict = part("p", "verdict");
      this.facts = part("p", "facts");
      this.rows = /** @type {HTMLCanvasElement} */ (part("canvas", "rows", { role: "img" }));
      this.curves = /** @type {HTMLCanvasElement} */ (part("canvas", "curves", { role: "img" }));
      this.surface = /** @type {HTMLCanvasElement} */ (part("canvas", "surface", { role: "img", ariaLabel: "Decision surface", hidden: true }));
      const below = part("div", "below");
      below.append(this.surface, this.curves);
      this.element = make("article", { className: "vg-train-net", ariaLabel: name }, part("p", "name", { textContent: name }),
        this.verdict, this.facts, this.rows, below);
    }

    /** @param {State} state */
    take(state) {
      this.first ??= state;
      this.state = state;
      this.history.add(state);
    }

    /** @param {string} view @returns {number[][]} lists of what the view shows, now and at the first step */
    lists(view) {
      const { lists, log } = VIEWS[view];
      const read = (/** @type {State | null} */ state) => lists.map(key => (state?.[key]?.length === state?.gradients.length ? state?.[key] : []).map((/** @type {any} */ value) => (log ? Math.log10(real(value)) : real(value))));
      return [...read(this.state), ...read(this.first)];
    }

    /** @param {Look} its @param {string} view @param {[number, number]} range */
    draw(its, view, range) {
      this.drawRows(its, view, range);
      this.drawCurves(its);
      this.drawSurface(its);
    }

    /** Rows are layers, or time steps, the output on top: what the view shows of each by now, and its gradient since step 0.
     * @param {Look} its @param {string} view @param {[number, number]} range */
    drawRows(its, view, [low, high]) {
      const { pen, width, height } = sheet(this.rows), write = writer(pen, its), { token, heat } = its;
      const state = /** @type {State} */ (this.state), n = state.gradients.length, recurrent = this.setting.net !== "mlp";
      const across = Math.round((width - LEFT) * 0.38), bottom = height - FOOT, row = (bottom - TOP) / n;
      const y = (/** @type {number} */ i) => bottom - (i + 0.5) * row, x = (/** @type {number} */ v) => LEFT + 6 + ((v - low) / (high - low)) * (across - 12);
      const { log, title, lists } = VIEWS[view], left = LEFT + across + GAP;
      write(title, LEFT, 9, "left", "ink-2");
      write("gradient ÷ the last one’s, since step 0", width, 9, "right", "ink-2");

      // axes
      const every = Math.max(1, Math.ceil((high - low) / 3));
      for (let v = Math.ceil(low); log && v <= high; v++) {
        if (v % every) continue;
        line(pen, token("grid"), [[x(v), TOP], [x(v), bottom]], 1);
        write(Math.abs(v) < 2 ? String(10 ** v) : power(v), x(v), bottom + 11, "center");
      }
      if (!log) for (const v of [0, 0.5, 1]) line(pen, token("grid"), [[x(v), TOP], [x(v), bottom]], 1), write(`${100 * v} %`, x(v), bottom + 11, "center");
      const names = recurrent ? [1, n] : [1, ...[5, 10, 20, 30, 40].filter(k => k < n - 1), n];
      for (const k of names) write(!recurrent && k === n ? "out" : String(k), LEFT - 6, y(k - 1), "right");

      // the profile
      const [now, ...others] = this.lists(view), then = this.lists(view)[lists.length], plain = Math.min(3.5, Math.max(1, row / 2 - 0.5));
      if (!now.length) write("not by layer here", LEFT + 6, (TOP + bottom) / 2);
      line(pen, token("theory"), then.map((v, i) => [x(v), y(i)]), 1.25, [3, 3]);
      if (lists.length > 1) line(pen, token("exploding"), others[0].map((v, i) => [x(v), y(i)]), 1.5, [6, 2]);
      line(pen, token("ink-3"), now.map((v, i) => [x(v), y(i)]), 1);
      now.forEach((v, i) => {
        if (!Number.isFinite(v)) return write(Number.isNaN(v) ? "NaN" : v > 0 ? "∞" : "0", v < 0 ? LEFT + 2 : LEFT + across, y(i), v < 0 ? "left" : "right", "ink");
        pen.fillStyle = view === "gradients" ? `rgb(${heat(decades(state.gradients[i], state.gradients.at(-1))).slice(0, 3)})` : token("ink-2");
        pen.beginPath();
        pen.arc(x(v), y(i), plain, 0, 7);
        pen.fill();
      });

      // the strip
      const { columns } = this.history, image = new ImageData(COLUMNS, n);
      columns.forEach((column, c) => column.rows.forEach((value, i) => image.data.set(heat(value), 4 * ((n - 1 - i) * COLUMNS + c))));
      pen.fillStyle = token("sunken");
      pen.fillRect(left, TOP, width - left, bottom - TOP);
      pen.imageSmoothingEnabled = false;
      pen.drawImage(this.picture(image), left, TOP, width - left, bottom - TOP);
      this.steps(write, left, width, bottom + 11);
    }

    /** As a canvas, which can be stretched. @param {ImageData} image */
    picture(image) {
      const canvas = Object.assign(document.createElement("canvas"), { width: image.width, height: image.height });
      canvas.getContext("2d")?.putImageData(image, 0, 0);
      return canvas;
    }

    /** The axis of steps. @param {ReturnType<typeof writer>} write @param {number} left @param {number} right @param {number} y */
    steps(write, left, right, y) {
      const end = COLUMNS * this.history.per, nice = [1, 2, 5, 10].map(k => k * 10 ** Math.floor(Math.log10(end / 4)));
      const every = nice.find(k => end / k <= 4) ?? end;
      for (let step = every; step < end * 0.95; step += every) write(String(step), left + ((right - left) * step) / end, y, "center");
      write("step 0", left, y);
    }

    /** @param {Look} its */
    drawCurves(its) {
      const { pen, width, height } = sheet(this.curves), write = writer(pen, its), { token } = its, { columns } = this.history;
      const left = 34, bottom = height - 20, middle = Math.round(height * 0.56), guess = Math.log(this.guesses);
      const x = (/** @type {number} */ c) => left + ((c + 0.5) / COLUMNS) * (width - left), top = 1.5 * guess;
      const loss = (/** @type {number} */ v) => middle - 8 - (Math.min(v, top) / top) * (middle - 22);
      const share = (/** @type {number} */ v) => bottom - 2 - v * (bottom - middle - 14);
      write("loss", left, 7, "left", "ink-2");
      write("accuracy", left, middle + 5, "left", "ink-2");
      for (const [at, name] of /** @type {[number, string][]} */ ([[loss(0), "0"], [loss(guess), number(guess, 2)], [share(0), "0"], [share(1), "1"]])) {
        line(pen, token("grid"), [[left, at], [width, at]], 1);
        write(name, left - 6, at, "right");
      }
      for (const at of [loss(guess), share(1 / this.guesses)]) line(pen, token("theory"), [[left, at], [width, at]], 1, [3, 3]);
      write("guessing", width - 2, loss(guess) - 7, "right");
      line(pen, token("accent"), columns.map(({ loss: v }, c) => [x(c), loss(v)]), 1.75);
      line(pen, token("accent"), columns.map(({ accuracy: v }, c) => [x(c), share(v)]), 1.75);
      const last = columns.at(-1);
      if (last && !(last.loss <= top)) write(number(last.loss), Math.min(x(columns.length) + 4, width - 60), loss(Infinity), "left", "ink");
      this.steps(write, left, width, bottom + 11);
    }

    /** What a two-dimensional network makes of the plane, in two hues that mean no gradient. @param {Look} its */
    drawSurface(its) {
      const { classes, plane } = this;
      this.surface.hidden = !plane;
      if (!plane || !classes) return;
      const { pen, width, height } = sheet(this.surface), { token } = its, side = Math.sqrt(classes.length / 2);
      const hues = ["category", "category-2"].map(name => its.rgb(token(name))), image = new ImageData(side, side);
      for (let i = 0; i < side * side; i++) {
        const share = classes[2 * i + 1], sure = Number.isFinite(share) ? Math.abs(2 * share - 1) : 0;
        image.data.set([...hues[Number(share > 0.5)].slice(0, 3), 140 * sure], 4 * i);
      }
      pen.drawImage(this.picture(image), 0, 0, width, height);
      plane.x.forEach(([across, up], i) => {
        pen.fillStyle = token(plane.y[i] ? "category-2" : "category");
        pen.beginPath();
        pen.arc(((across / plane.reach + 1) * width) / 2, ((1 - up / plane.reach) * height) / 2, 1.6, 0, 7);
        pen.fill();
      });
    }

    /** @type {{ x: number[][], y: number[], reach: number } | null} */
    plane = null;
    words() {
      const state = /** @type {State} */ (this.state), { role, word, text } = tell(this.setting, state);
      this.verdict.dataset.role = role;
      this.verdict.replaceChildren(make("strong", { textContent: word }), ` ${text}`);
      const share = real(state.accuracy), facts = [`step ${state.step}`, `loss ${number(state.loss, 4)}`];
      if (Number.isFinite(share)) facts.push(`accuracy ${Math.round(100 * share)} %`);
      this.facts.textContent = facts.join("  ·  ");
      this.rows.ariaLabel = `Gradient by ${this.setting.net === "mlp" ? "layer" : "time step"}. ${word} ${text}`;
      this.curves.ariaLabel = `Loss and accuracy by step. ${facts.join(", ")}`;
      return `Step ${state.step}: loss ${number(state.loss, 3)}. ${word} ${text}`;
    }
  }

  // ---- The address ---------------------------------------------------------------------------------------------------
  /** What a query says; throws an error with a sentence for the reader. @param {string} search @returns {Setting[]} */
  function parse(search) {
    const query = new URLSearchParams(search), other = query.get("vs");
    for (const key of [...NOT_OURS, "vs"]) query.delete(key);
    const one = engine().parse(query.toString());
    if (other === null) return [one];
    const changed = new URLSearchParams(query);
    for (const pair of other.split(",").filter(Boolean)) {
      const [key, value] = pair.split(":");
      if (SHARED.includes(key)) throw new Error(`the second network shares the first one’s ${key}, so vs can’t name it`);
      changed.set(key, value ?? "");
    }
    const two = engine().parse(changed.toString());
    if ((one.net === "mlp") !== (two.net === "mlp")) throw new Error("a network of layers and a recurrent one have no data in common");
    return [one, two];
  }

  /** @param {Setting[]} settings */
  function address([one, two]) {
    const query = engine().query(one);
    if (!two) return `?${query || "net=mlp"}`; // the bare address is the page's opening, a pair
    const keys = Object.keys(two).filter(key => !SHARED.includes(key) && String(two[key]) !== String(one[key]));
    return `?${[...(query ? [query] : []), `vs=${keys.map(key => `${key}:${two[key]}`).join(",")}`].join("&")}`;
  }
  const isAsked = (/** @type {string} */ search) => [...new URLSearchParams(search).keys()].some(key => !NOT_OURS.includes(key));

  // ---- The page --------------------------------------------------------------------------------------------------------
  class Page {
    /** @param {any} root the section */
    constructor(root) {
      this.root = root;
      this.path = location.pathname;
      this.search = location.search;
      this.opening = root.dataset.opening; // the setting of the bare address
      this.find = (/** @type {string} */ name) => root.querySelector(`.vg-train-${name}`);
      this.form = this.find("controls");
      this.fields = this.form.elements;
      /** @type {Net[]} */
      this.nets = [];
      this.edited = 0; // which network the controls speak of
      this.view = "gradients";
      this.playing = this.asked = this.fresh = false;
      this.turn = this.owed = this.then = this.drawn = this.spoken = this.pictured = 0;
      /** @type {((question: object) => void) | null} */
      this.post = null;
      /** @type {Setting[]} */
      this.settings = [];
      root.state = (i = 0) => this.nets[i]?.state ?? null;
      this.listen();
      if (isAsked(location.search)) this.follow();
    }

    listen() {
      const { form, root } = this;
      const click = (/** @type {string} */ name, /** @type {() => void} */ act) => this.find(name).addEventListener("click", act);
      for (const event of ["pointerover", "focusin"]) root.addEventListener(event, () => this.fetch(), { once: true });
      click("play", () => this.play(!this.playing));
      click("step", () => this.step());
      click("restart", () => this.wake().then(ready => ready && this.start(this.settings)));
      click("reseed", () => this.wake().then(ready => ready && this.change({ seed: (this.settings[0].seed + 1) % 2 ** 31 }, true)));
      click("compare", () => this.compare());
      click("copy", () => this.copy("copied", () => engine().script(this.settings[this.edited])));
      click("share", () => this.copy("copied", () => location.href));
      form.addEventListener("submit", (/** @type {Event} */ event) => event.preventDefault());
      form.addEventListener("input", (/** @type {any} */ { target }) => this.label(target));
      form.addEventListener("change", (/** @type {any} */ { target }) => this.turned(target));
      this.find("views").addEventListener("change", (/** @type {any} */ { target }) => (this.view = target.value, this.repaint()));
      root.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
        const used = /** @type {Element} */ (event.target).closest("button, select, summary, a, pre, input:not([type=range])");
        if (event.key !== " " || used || event.ctrlKey || event.metaKey || event.altKey) return;
        event.preventDefault(); // the page would scroll
        this.play(!this.playing);
      });
      new ResizeObserver(() => this.repaint()).observe(this.find("nets"));
    }

    // ---- what trains
    /** The engine and a worker, or this page in its stead; whether they are there. */
    async fetch() {
      try {
        await Promise.all(["settings.js", "engine.js"].map(load));
        if (!this.post) await this.hire();
        return true;
      } catch (error) {
        this.complain(/** @type {Error} */ (error).message);
        return false;
      }
    }

    async hire() {
      const take = (/** @type {any} */ answer) => this.take(answer);
      if (location.protocol !== "file:") {
        const worker = new Worker(new URL("worker.js", HERE));
        worker.onmessage = ({ data }) => take(data);
        worker.onerror = ({ message }) => (this.play(false), this.complain(`The training stopped: ${message || "it could not be loaded"}.`));
        this.worker = worker;
        this.post = question => worker.postMessage(question);
        return;
      }
      await load("worker.js");
      const serve = /** @type {any} */ (window).vgTrainServe(take);
      this.post = question => setTimeout(() => load(/** @type {any} */ (question).digits ? "digits.js" : "worker.js").then(() => serve(question)));
    }

    /** Ready to train: with what the address says, unless something is there. */
    async wake() {
      if (!(await this.fetch())) return false;
      if (!this.nets.length) this.start(parse(isAsked(this.search) ? this.search : this.opening));
      return true;
    }

    /** @param {Setting[]} settings */
    start(settings) {
      this.settings = settings;
      this.edited = Math.min(this.edited, settings.length - 1);
      this.nets = settings.map(setting => new Net(setting, this.describe(setting)));
      this.find("nets").replaceChildren(...this.nets.map(net => net.element));
      this.root.dataset.live = settings.length;
      this.write();
      this.turn++;
      this.owed = 0;
      this.asked = true;
      this.post?.({ make: this.turn, settings, steps: 1, digits: settings.some(({ data }) => data === "digits") });
    }

    /** @param {{ make: number, states: State[][], classes?: any[], data?: any }} answer */
    take({ make: turn, states, classes, data }) {
      if (turn !== this.turn) return; // of networks that have gone
      this.asked = false;
      if (data) this.plot(data);
      for (const step of states) step.forEach((state, i) => this.nets[i].take(state));
      classes?.forEach((shares, i) => (this.nets[i].classes = shares));
      this.fresh = true;
      if (this.playing && this.nets.every(({ state }) => Number.isNaN(real(state?.loss)))) this.play(false); // nothing more will come
      this.look ??= look(document.body);
      this.frame();
    }

    /** The toys' points, and a grid over them for the decision surface. @param {{ x: any, y: any }} data */
    plot({ x, y }) {
      const flat = Array.from(x).flat(), points = Array.from({ length: flat.length / 2 }, (_, i) => [Number(flat[2 * i]), Number(flat[2 * i + 1])]);
      const reach = 1.1 * Math.max(...flat.map(value => Math.abs(Number(value)))), side = 36, at = (/** @type {number} */ k) => reach * ((2 * (k + 0.5)) / side - 1);
      const plane = { x: points, y: Array.from(y, Number), reach };
      this.grid = Float64Array.from({ length: 2 * side * side }, (_, i) => {
        const cell = i >> 1;
        return i % 2 ? -at(Math.floor(cell / side)) : at(cell % side);
      });
      for (const net of this.nets) net.plane = plane;
      this.pictured = 0;
    }

    /** @param {boolean} on */
    async play(on) {
      if (on && !(await this.wake())) return;
      this.playing = on;
      this.then = performance.now();
      const button = this.find("play");
      button.textContent = on ? "Pause" : "Play";
      button.toggleAttribute("data-on", on);
      if (on) this.frame();
      else this.say();
    }

    async step() {
      if (!this.nets.length) return void this.wake();
      this.play(false);
      this.ask(1);
    }

    /** @param {number} steps */
    ask(steps, ms = Infinity) {
      if (this.asked) return;
      const grid = this.nets[0]?.plane && performance.now() - this.pictured > 120 ? this.grid : null;
      if (grid) this.pictured = performance.now();
      this.asked = true;
      this.post?.({ make: this.turn, steps, ms, points: grid });
    }

    /** Once a frame as long as there is something to show or to ask: a tab in the background gets none, and rests. */
    frame() {
      if (this.waiting) return;
      this.waiting = requestAnimationFrame(now => {
        this.waiting = 0;
        if (!this.root.isConnected) return this.worker?.terminate();
        const calm = matchMedia("(prefers-reduced-motion: reduce)").matches ? 500 : 0;
        if (this.fresh && (!this.playing || now - this.drawn >= calm)) this.paint(now);
        if (!this.playing || document.hidden) return;
        const rate = Number(this.find("speed").value), past = Math.min(now - this.then, 100);
        this.then = now;
        this.owed = Math.min(this.owed + (past * rate) / 1000, rate / 10 + 1);
        if (this.owed >= 1 && !this.asked) this.ask(Math.floor(this.owed), SLICE), (this.owed %= 1);
        this.frame();
      });
    }

    // ---- what is seen
    /** @param {number} now */
    paint(now) {
      const { nets, view } = this, its = this.look;
      if (!its || !nets.length || nets.some(({ state }) => !state)) return;
      this.fresh = false;
      this.drawn = now;
      const shown = nets.flatMap(net => net.lists(view)).flat().filter(Number.isFinite);
      const { log } = VIEWS[view], known = this.range?.view === view && this.range.turn === this.turn ? this.range : { low: Infinity, high: -Infinity };
      const low = Math.min(known.low, ...shown.map(Math.floor)), high = Math.max(known.high, low + 1, ...shown.map(Math.ceil));
      this.range = { view, turn: this.turn, low, high }; // it only grows, so that the axis holds still
      for (const net of nets) {
        net.draw(its, view, log ? (Number.isFinite(low) ? [low, high] : [-1, 0]) : [0, 1]);
        net.words();
      }
      if (this.playing && now - this.spoken > SPOKEN) this.say();
    }

    repaint() {
      this.fresh = true;
      if (this.nets.length) this.frame();
    }

    /** The theme has changed, or the page goes to paper. @param {Element} scope */
    dress(scope = document.body) {
      if (!this.nets.length) return;
      this.look = look(scope);
      this.paint(performance.now());
    }

    say() {
      if (this.nets.some(({ state }) => !state) || !this.nets.length) return;
      this.spoken = performance.now();
      const told = this.nets.map((net, i) => (this.nets.length > 1 ? `${["First", "Second"][i]} network. ` : "") + net.words());
      this.find("said").textContent = told.join(" ");
      this.tabulate();
    }

    /** The last step's numbers, for whoever can't see them drawn. */
    tabulate() {
      const [{ setting, state }] = this.nets;
      const columns = this.nets.flatMap(({ state: its, first }, i) => ["gradients", "updates", "saturated", "dead", "signal"]
        .filter(key => its?.[key]?.length === state?.gradients.length || key === "gradients")
        .map(key => ({ name: `${this.nets.length > 1 ? `${["first", "second"][i]}: ` : ""}${key}`, values: its?.[key] ?? [], first }))
      );
      const rows = Math.max(...columns.map(({ values }) => values.length));
      const cell = (/** @type {string} */ tag, /** @type {any} */ text) => make(tag, { textContent: text });
      this.find("table").replaceChildren(
        make("thead", {}, make("tr", {}, cell("th", setting.net === "mlp" ? "layer" : "time step"), ...columns.map(({ name }) => cell("th", name)))),
        make("tbody", {}, ...Array.from({ length: rows }, (_, i) => make("tr", {}, cell("th", i + 1),
          ...columns.map(({ values }) => cell("td", i in values ? number(values[i], 4) : ""))))),
      );
    }

    // ---- the controls
    /** @param {string} key */
    field(key) {
      const recurrent = this.settings[this.edited].net !== "mlp";
      return this.fields.namedItem(key === "data" && recurrent ? "task" : key); // `length` is a property as well
    }

    /** Shows the edited network's setting in the controls. */
    write() {
      const setting = this.settings[this.edited], both = this.settings.length > 1;
      for (const label of this.form.querySelectorAll("[data-for]")) label.hidden = !label.dataset.for.split(" ").includes(setting.net);
      for (const [key, value] of Object.entries(setting)) {
        const field = this.field(key);
        if (!field) continue;
        const text = String(value);
        if (field.options && ![...field.options].some(option => option.value === text)) field.add(new Option(text, text));
        field.value = text;
        this.label(field);
      }
      this.find("which").hidden = !both;
      this.fields.which.value = String(this.edited);
      this.find("compare").textContent = both ? "Show one" : "Compare two";
      this.find("code").textContent = engine().script(setting);
      this.find("command").textContent = `vgdocs train "${engine().query(setting) || "net=mlp"}" --steps 100`;
      const here = address(this.settings);
      for (const link of document.querySelectorAll(".vg-train-presets a")) {
        const its = /** @type {HTMLAnchorElement} */ (link);
        its.ariaCurrent = address(parse(its.search)) === here ? "true" : null;
      }
    }

    /** What a slider says. @param {any} field */
    label(field) {
      const told = field.parentElement?.querySelector("output");
      if (told) told.textContent = field.value;
    }

    /** @param {any} field */
    async turned(field) {
      if (field.name === "which" && this.nets.length) return this.edited = Number(field.value), this.write();
      if (field.name === "speed") return;
      const { name, value } = field; // waking writes the address's setting into the controls
      if (!(await this.wake())) return;
      this.change({ [name === "task" ? "data" : name]: value }, field.type !== "range" || this.touched !== field);
      this.touched = field;
    }

    /** @param {Setting} changed @param {boolean} entry whether it is a new entry of the history */
    change(changed, entry) {
      const [key] = Object.keys(changed), old = this.settings[this.edited];
      const family = (/** @type {string} */ net) => net === "mlp", moved = key === "net" && family(changed.net) !== family(old.net);
      try {
        const next = this.settings.map((setting, i) => {
          if (i !== this.edited && !SHARED.includes(key) && !moved) return setting;
          const query = new URLSearchParams(engine().query(setting));
          if (moved) for (const name of [...query.keys()]) if (!["optimizer", "lr", "batch", "seed", "width", "clip", "warmup"].includes(name)) query.delete(name);
          query.set(key, String(changed[key]));
          return engine().parse(query.toString());
        });
        this.complain("");
        this.start(next);
        this.remember(entry);
      } catch (error) {
        this.complain(`${/** @type {Error} */ (error).message}.`);
        this.write(); // what holds
      }
    }

    async compare() {
      if (!(await this.wake())) return;
      const [one, two] = this.settings, cures = { mlp: "activation:relu,init:he", rnn: "init:orthogonal", lstm: "forget:3", gru: "net:lstm" };
      if (two) this.edited = 0, this.start([one]);
      else this.edited = 1, this.start(parse(`${engine().query(one)}&vs=${cures[/** @type {"mlp"} */ (one.net)]}`));
      this.remember(true);
    }

    /** @param {Setting} setting */
    describe(setting) {
      const text = (/** @type {string} */ key) => {
        const field = this.fields.namedItem(key), option = [...(field?.options ?? [])].find(({ value }) => value === String(setting[key]));
        return option?.text ?? String(setting[key]);
      };
      const { net, depth, width, length } = setting, some = (/** @type {string} */ key, /** @type {string} */ none) => (String(setting[key]) === none ? [] : [text(key)]);
      const own = net === "mlp"
        ? [`${text("activation")}, ${depth} ${depth === 1 ? "layer" : "layers"} of ${width}`, text("init"), ...some("norm", "none"), ...some("skip", "none")]
        : [`${text("net")} of ${width}, ${length} steps`, ...(net === "rnn" ? [text("init")] : []), ...(net === "lstm" && Number(setting.forget) ? [`forget bias ${setting.forget}`] : [])];
      const gain = Number(setting.gain ?? 1) === 1 ? [] : [`weights × ${setting.gain}`];
      return [...own, ...gain, `${text("optimizer")} ${setting.lr}`].join(", ");
    }

    // ---- the address
    follow() {
      this.search = location.search;
      this.root.dataset.live ||= "1"; // at once, so that nothing moves later
      this.obey(location.search);
    }

    /** Shows what a query asks for; whether it could. @param {string} search */
    async obey(search) {
      if (!(await this.fetch())) return false;
      let settings;
      try {
        settings = parse(isAsked(search) ? search : this.opening);
        this.complain("");
      } catch (error) {
        settings = parse(this.opening);
        this.complain(`The address asks for what isn’t here: ${/** @type {Error} */ (error).message}. Shown is what the page opens with.`);
      }
      this.edited = 0;
      this.play(false);
      this.start(settings);
      return true;
    }

    /** @param {string} search */
    async open(search) {
      if (!(await this.obey(search))) return;
      this.remember(true);
      this.find("bar").scrollIntoView({ block: "nearest" });
    }

    /** @param {boolean} entry */
    remember(entry) {
      const search = address(this.settings);
      if (search === location.search) return;
      const state = { x: scrollX, y: scrollY }; // what Material keeps there, to scroll to on the way back
      history.replaceState(state, "");
      history[entry ? "pushState" : "replaceState"](state, "", search);
      this.search = search;
    }

    /** @param {string} text */
    complain(text) {
      Object.assign(this.find("complaint"), { textContent: text, hidden: !text });
    }

    /** @param {string} where @param {() => string} what */
    async copy(where, what) {
      if (!(await this.wake())) return;
      const said = this.find(where);
      try {
        await navigator.clipboard.writeText(what());
        said.textContent = "Copied.";
      } catch { // not allowed
        const code = this.find("code");
        code.closest("details").open = true;
        getSelection()?.selectAllChildren(code);
        said.textContent = "This browser doesn’t let a page copy; the script is selected, the address stands above.";
      }
    }
  }

  /** @type {Page | null} */
  let current = null;
  const isShown = () => current?.root.isConnected && location.pathname === current.path;

  // Material's instant navigation doesn't look at the query: hence before it, in the capturing phase, as in explore.js.
  document.addEventListener("click", event => {
    const link = /** @type {Element} */ (event.target).closest?.("a[href]");
    if (!(link instanceof HTMLAnchorElement) || !current || !isShown() || link.target || event.metaKey || event.ctrlKey || event.shiftKey) return;
    if (link.origin !== location.origin || link.pathname !== current.path) return;
    if (link.hash) return void (link.search = location.search); // to a heading: the setting stays as it is by now
    event.preventDefault();
    event.stopPropagation();
    current.open(link.search);
  }, true);
  addEventListener("popstate", event => {
    if (!current || !isShown() || location.search === current.search) return;
    event.stopImmediatePropagation();
    current.follow();
  }, true);
  document.addEventListener("visibilitychange", () => {
    if (current && !document.hidden) current.then = performance.now(), current.frame();
  });

  new MutationObserver(() => current?.dress()).observe(document.body, { attributeFilter: ["data-md-color-scheme"] });
  const paper = document.body.appendChild(make("div", { hidden: true })); // white, whatever the screen is
  paper.dataset.mdColorScheme = "default";
  addEventListener("beforeprint", () => current?.dress(paper));
  addEventListener("afterprint", () => current?.dress());

  window.vg.train = root => void (current?.root === root || (current = new Page(root)));
  const waiting = document.querySelector(".vg-train");
  if (waiting) window.vg.train(waiting); // vg.js has been here before this file was
})();
