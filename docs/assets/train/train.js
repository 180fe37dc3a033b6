// @ts-check
/* The page docs/train.md: networks that train in a worker, drawn once a frame, with their setting in the address.
 * vg.js fetches this file when a page holds a `.vg-train`, and calls `vg.train` with it. What trains is in engine.js, and
 * is fetched once it is wanted: when the address names a setting, or when the section is approached. Until then the page
 * shows a figure of the setting that it opens with, measured at build.
 */
(() => {
  "use strict";
  const HERE = /** @type {HTMLScriptElement} */ (document.currentScript).src;
  const NOT_OURS = ["h", "q"]; // of Material's search
  const SHARED = ["data", "batch", "seed", "length"]; // or two networks would not see the same batches
  const COLUMNS = 240; // of the strip: when they are full, two become one, so that it always begins at step 0
  const SLICE = 12; // ms of training that are asked for at once
  const PATIENCE = 300; // ms without a frame after which nothing more is asked for
  const SPOKEN = 6000; // ms between two summaries in words
  const CALM = 500; // ms between two frames for who asked for less motion

  const { make } = window.vg;
  const load = (/** @type {string} */ name) => window.vg.load(new URL(name, HERE), `What trains here, ${name},`);
  const reason = (/** @type {unknown} */ error) => (error instanceof Error ? error.message : String(error));

  // ---- Numbers ---------------------------------------------------------------------------------------------------
  /** @type {Record<any, number>} */
  const WORDS = { nan: NaN, inf: Infinity, "-inf": -Infinity }; // how a state tells what isn't finite
  /** @type {(value: any) => number} */
  const real = value => WORDS[value] ?? value;
  /** @type {(text: string) => string} */
  const minus = text => text.replace("-", "−");
  /** @type {(exponent: number) => string} */
  const power = exponent => "10" + String(exponent).replace(/./g, sign => "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"["-0123456789".indexOf(sign)]);

  /** 0.41, 17, 4.6 × 10⁻⁹, NaN, infinity. @param {any} value */
  function number(value, digits = 2) {
    const x = real(value), size = Math.abs(x);
    if (Number.isNaN(x)) return "NaN";
    if (size === Infinity) return x > 0 ? "infinity" : "−infinity";
    if (!x || (size >= 0.01 && size < 1e4)) return minus(String(Number(x.toPrecision(digits))));
    const [mantissa, exponent] = x.toExponential(digits - 1).split("e");
    return `${minus(mantissa)}\u00a0×\u00a0${power(Number(exponent))}`;
  }

  /** Norms relative to the last one, in decades; 99 stands for infinity, −99 for zero. @param {Told[]} norms */
  function decades(norms) {
    const logs = norms.map(norm => Math.max(-99, Math.min(99, Math.log10(real(norm)))));
    return logs.map(log => (log === -99 ? log : log - logs[logs.length - 1]));
  }

  // ---- What became of the gradient, in words -----------------------------------------------------------------------
  const FATES = [ // by the decades from the last layer to the first, as in the explorer
    { role: "vanishing", word: "It vanishes:", below: -3 }, { role: "vanishing", word: "It fades:", below: -1 },
    { role: "healthy", word: "It arrives:", below: 1 }, { role: "exploding", word: "It grows:", below: 3 },
    { role: "exploding", word: "It explodes:", below: Infinity },
  ];

  /** @param {Setting} setting @param {State} state */
  function tell({ net }, { gradients, loss }) {
    const values = gradients.map(real), last = values.length - 1, layered = net === "mlp";
    const name = (/** @type {number} */ i) =>
      (!layered ? `t = ${i + 1}` : i === last ? "the output layer" : `layer ${i + 1}`);
    const lost = values.findLastIndex(value => !Number.isFinite(value));
    if (lost >= 0 || !Number.isFinite(real(loss))) {
      const where = lost < 0 ? "" : `, the gradient ${number(values[lost])} at ${name(lost)}`;
      return { role: "exploding", word: "It leaves the numbers:", text: `the loss is ${number(loss)}${where}.` };
    }
    if (!values.some(Boolean)) return { role: "vanishing", word: "It is zero:", text: "no layer gets any gradient." };
    const log = decades(gradients)[0], { role, word } = FATES.find(({ below }) => log < below) ?? FATES[4];
    const share = number(values[0] / values[last]), of = layered ? "the output’s" : "the last one’s";
    return { role, word, text: `${name(0)} gets ${share} ${log < 0 ? "of" : "times"} ${of}.` };
  }

  // ---- History -----------------------------------------------------------------------------------------------------
  /** @typedef {{ n: number, rows: number[], loss: number, accuracy: number, look?: Look, pixels?: number[] }} Column
   * means of n steps, and the rows' colours in the look that they were drawn in */
  /** @type {(a: Column, b: Column) => Column} */
  const join = (a, b) => {
    const n = a.n + b.n, mean = (/** @type {number} */ x, /** @type {number} */ y) => (x * a.n + y * b.n) / n;
    const rows = a.rows.map((row, i) => mean(row, b.rows[i]));
    return { n, rows, loss: mean(a.loss, b.loss), accuracy: mean(a.accuracy, b.accuracy) };
  };

  /** All steps since the first, in a bounded number of columns: means of `per` steps each. */
  class History {
    per = 1;
    columns = /** @type {Column[]} */ ([]);

    /** The columns that there is room for: few at first, so that the first steps are seen. */
    get room() {
      return this.per > 1 ? COLUMNS : [30, 60, 120].find(room => room >= this.columns.length) ?? COLUMNS;
    }

    /** @param {State} state */
    add({ gradients, loss, accuracy }) {
      const one = { n: 1, rows: decades(gradients), loss: real(loss), accuracy: real(accuracy) };
      const { columns, per } = this, open = columns.at(-1);
      if (open && open.n < per) return void columns.splice(-1, 1, join(open, one));
      columns.push(one);
      if (columns.length < COLUMNS) return;
      this.columns = columns.flatMap((column, i) => (i % 2 ? [] : join(column, columns[i + 1])));
      this.per *= 2;
    }
  }

  // ---- Drawing -----------------------------------------------------------------------------------------------------
  /** The tokens of vg.css that hold in an element, and the strip's colour of a number of decades.
   * @param {Element} scope @returns {Look} */
  function look(scope) {
    const css = getComputedStyle(scope);
    /** @type {Record<string, any>} */
    const known = {}; // what is asked for in each frame
    const token = (/** @type {string} */ name) => (known[name] ??= css.getPropertyValue(`--vg-${name}`).trim());
    const pen = make("canvas").getContext("2d", { willReadFrequently: true });
    /** @type {Look["rgb"]} */
    const rgb = color => {
      pen.fillStyle = color;
      pen.fillRect(0, 0, 1, 1);
      return pen.getImageData(0, 0, 1, 1).data;
    };
    /** @type {(a: string, share: number, b: string) => string} */
    const mix = (a, share, b) => `color-mix(in oklab, ${a} ${100 * Math.max(0, Math.min(1, share))}%, ${b})`;
    const colour = (/** @type {number} */ log) => {
      const way = log < 0 ? "vanishing" : "exploding", size = Math.abs(log);
      const end = mix(token(`${way}-3`), (size - 3) / 15, token(way)); // which is reached at 3, and deepens from there
      const found = rgb(Number.isNaN(log) ? token("ink") : mix(end, (size - 0.5) / 2.5, token("healthy")));
      return { css: `rgb(${found.slice(0, 3)})`, pixel: new Uint32Array(found.buffer)[0] };
    };
    /** @type {Look["heat"]} */
    const heat = log => {
      const tenth = Math.round(10 * log);
      return (known[tenth] ??= colour(tenth / 10));
    };
    return { token, rgb, heat, font: token("sans") };
  }

  /** A canvas, cleared, in pixels of the page, and what draws and writes on it.
   * @param {HTMLCanvasElement} canvas @param {Look} its */
  function sheet(canvas, { token, font }) {
    const { clientWidth: width, clientHeight: height } = canvas, scale = devicePixelRatio;
    const [across, down] = [width, height].map(size => Math.round(size * scale));
    const pen = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    if (canvas.width !== across || canvas.height !== down) {
      Object.assign(canvas, { width: across, height: down });
      pen.scale(scale, scale);
      Object.assign(pen, { font: `11px ${font}`, textBaseline: "middle" }); // dear: not in each frame
    }
    pen.clearRect(0, 0, width, height);
    /** @type {(text: string | number, x: number, y: number, align?: CanvasTextAlign, color?: string) => void} */
    const write = (text, x, y, textAlign = "left", color = "ink-3") => {
      Object.assign(pen, { fillStyle: token(color), textAlign });
      pen.fillText(String(text), x, y);
    };
    /** @type {(x: number, y: number, radius: number, color: string) => void} */
    const dot = (x, y, radius, color) => {
      pen.fillStyle = color;
      pen.beginPath();
      pen.arc(x, y, radius, 0, 7);
      pen.fill();
    };
    /** @type {(color: string, points: number[][], width?: number, dash?: number[]) => void} */
    const line = (color, points, lineWidth = 1, dash = []) => {
      Object.assign(pen, { strokeStyle: token(color), lineWidth, lineJoin: "round" });
      pen.setLineDash(dash);
      pen.beginPath();
      let down = false; // a line has gaps where there are no numbers
      for (const [x, y] of points) {
        const there = Number.isFinite(x + y);
        if (there) pen[down ? "lineTo" : "moveTo"](x, y);
        down = there;
      }
      pen.stroke();
    };
    return { pen, width, height, write, dot, line };
  }

  /** An image in a canvas, which can be stretched. @param {HTMLCanvasElement} canvas @param {ImageData} image */
  function picture(canvas, image) {
    if (canvas.width !== image.width || canvas.height !== image.height) {
      Object.assign(canvas, { width: image.width, height: image.height });
    }
    canvas.getContext("2d")?.putImageData(image, 0, 0);
    return canvas;
  }

  /** What the dots may be: one or two lists of a state.
   * @type {Record<string, { title: string, log: boolean, lists: string[] }>} */
  const VIEWS = {
    gradients: { title: "gradient", log: true, lists: ["gradients"] },
    updates: { title: "update ÷ weights", log: true, lists: ["updates"] },
    units: { title: "saturated, dead", log: false, lists: ["saturated", "dead"] },
  };
  const LEFT = 34, TOP = 22, FOOT = 22, GAP = 14; // px around the plots
  const GHOST = [3, 3]; // the dashes of what was, and of guessing

  // ---- A network ---------------------------------------------------------------------------------------------------
  class Net {
    history = new History();
    state = /** @type {any} */ (null); // the last step's State
    first = this.state; // and the first one's
    strip = make("canvas"); // a pixel a layer and column
    picture = make("canvas"); // of the plane
    plane = /** @type {null | { x: Float64Array, y: Uint8Array, reach: number }} */ (null); // two-dimensional data
    classes = /** @type {Float64Array} */ (Float64Array.of(NaN, NaN)); // two shares for each place of a grid over it

    /** @param {Setting} setting @param {string} name */
    constructor(setting, name) {
      this.setting = setting;
      this.guesses = setting.net !== "mlp" ? 4 : setting.data === "digits" ? 10 : 2; // classes to choose from
      const flat = this.guesses === 2; // the points of the plane
      const parts = this.parts = /** @type {Record<string, any>} */ ({});
      /** @type {(tag: string, kind: string, properties?: object, ...children: any[]) => HTMLElement} */
      const part = (tag, kind, properties = {}, ...children) =>
        (parts[kind] = make(tag, { className: `vg-train-${kind}`, ...properties }, ...children));
      this.element = part("article", "net", { ariaLabel: name },
        part("p", "name", { textContent: name }), part("p", "verdict"), part("p", "facts"),
        part("canvas", "rows", { role: "img" }),
        part("div", "below", {},
          part("canvas", "surface", { role: "img", ariaLabel: "Classes over the plane", hidden: !flat }),
          part("canvas", "curves", { role: "img" })));
    }

    /** @param {State} state */
    take(state) {
      this.first ??= state;
      this.state = state;
      this.history.add(state);
    }

    /** The lists of a view, at the last step or the first; empty where they have no value for each row.
     * @param {string} view @returns {number[][]} */
    lists(view, state = this.state) {
      const { lists, log } = VIEWS[view], rows = state.gradients.length;
      const read = (/** @type {Told} */ value) => (log ? Math.log10(real(value)) : real(value));
      return lists.map(key => {
        const list = state[key] ?? [];
        return list.length < rows - 1 ? [] : list.map(read);
      });
    }

    /** @param {Look} its @param {string} view @param {number[]} range */
    draw(its, view, range) {
      this.drawRows(its, view, range);
      this.drawCurves(its);
      if (this.plane) this.drawSurface(its);
    }

    /** A row a layer, or a time step, the output on top: a dot for the last step, a strip of the gradient since step 0.
     * @param {Look} its @param {string} view @param {number[]} range */
    drawRows(its, view, [low, high]) {
      const { pen, width, height, write, dot, line } = sheet(this.parts.rows, its), { token, heat } = its;
      const { log, title } = VIEWS[view], layered = isLayered(this.setting);
      const { gradients } = this.state, n = gradients.length;
      const across = Math.round((width - LEFT) * 0.38), left = LEFT + across + GAP; // dots, then the strip
      const bottom = height - FOOT, row = (bottom - TOP) / n;
      const x = (/** @type {number} */ v) => LEFT + 6 + ((v - low) / (high - low)) * (across - 12);
      const y = (/** @type {number} */ i) => bottom - (i + 0.5) * row;
      write(title, LEFT, 9, "left", "ink-2");
      write("gradient ÷ the last one’s, since step 0", width, 9, "right", "ink-2");

      const every = log ? Math.max(1, Math.ceil((high - low) / 3)) : 0.5;
      for (let v = Math.ceil(low / every) * every; v <= high; v += every) {
        line("grid", [[x(v), TOP], [x(v), bottom]]);
        write(!log ? `${100 * v} %` : Math.abs(v) < 2 ? String(10 ** v) : power(v), x(v), bottom + 11, "center");
      }
      const named = layered ? [1, ...[5, 10, 20, 30, 40].filter(k => k < n - 1)] : [1];
      for (const k of named) write(k, LEFT - 6, y(k - 1), "right");
      write(layered ? "out" : n, LEFT - 6, y(n - 1), "right");

      const [now, more = []] = this.lists(view), [then] = this.lists(view, this.first), ratios = decades(gradients);
      const radius = Math.min(3.5, Math.max(1, row / 2 - 0.5));
      const places = (/** @type {number[]} */ list) => list.map((v, i) => [x(v), y(i)]);
      const colour = (/** @type {number} */ i) =>
        (view === "gradients" ? heat(ratios[i]).css : token("ink-2"));
      if (!now.length) write("not by time step", LEFT + 8, (TOP + bottom) / 2);
      line("theory", places(then), 1.25, GHOST);
      line("ink", places(more), 1.5);
      line("ink-3", places(now));
      let free = Infinity; // what stands for no number is written where it doesn't cover the one below
      now.forEach((v, i) => {
        if (Number.isFinite(v)) return dot(x(v), y(i), radius, colour(i));
        if (y(i) > free) return;
        free = y(i) - 12;
        if (v < 0) write("0", LEFT + 2, y(i), "left", "ink");
        else write(v > 0 ? "∞" : "NaN", LEFT + across, y(i), "right", "ink");
      });

      const { columns, room } = this.history, strip = new ImageData(room, n);
      const pixels = new Uint32Array(strip.data.buffer);
      columns.forEach((column, c) => {
        if (column.look !== its) column.pixels = column.rows.map(decade => heat(decade).pixel);
        column.look = its;
        column.pixels?.forEach((pixel, i) => (pixels[(n - 1 - i) * room + c] = pixel));
      });
      pen.fillStyle = token("sunken");
      pen.fillRect(left, TOP, width - left, bottom - TOP);
      pen.imageSmoothingEnabled = false;
      pen.drawImage(picture(this.strip, strip), left, TOP, width - left, bottom - TOP);
      this.steps(write, left, width, bottom + 11);
    }

    /** The names of steps along an axis.
     * @param {(text: number | string, x: number, y: number, align?: CanvasTextAlign) => void} write
     * @param {number} left @param {number} right @param {number} y */
    steps(write, left, right, y) {
      const end = this.history.room * this.history.per, ten = 10 ** Math.floor(Math.log10(end / 4));
      const every = [1, 2, 5].map(k => k * ten).find(step => end / step <= 4) ?? 10 * ten;
      const x = (/** @type {number} */ step) => left + ((right - left) * step) / end;
      for (let step = every; step < end * 0.95; step += every) write(step, x(step), y, "center");
      write("step 0", left, y);
    }

    /** @param {Look} its */
    drawCurves(its) {
      const { width, height, write, line } = sheet(this.parts.curves, its);
      const { columns, room } = this.history, guess = Math.log(this.guesses);
      const bottom = height - 20, middle = Math.round(height * 0.56), top = 1.5 * guess; // beyond it nothing is drawn
      const x = (/** @type {number} */ c) => LEFT + ((c + 0.5) / room) * (width - LEFT);
      const loss = (/** @type {number} */ v) => middle - 8 - (Math.min(v, top) / top) * (middle - 22);
      const share = (/** @type {number} */ v) => bottom - 2 - v * (bottom - middle - 14);
      /** @type {(y: number, color: string, dash?: number[]) => void} */
      const level = (y, color, dash) => line(color, [[LEFT, y], [width, y]], 1, dash);
      for (const [y, name] of /** @type {[number, string][]} */ ([
        [loss(0), "0"], [loss(guess), number(guess)], [share(0), "0"], [share(1), "1"]])) {
        level(y, "grid");
        write(name, LEFT - 6, y, "right");
      }
      for (const y of [loss(guess), share(1 / this.guesses)]) level(y, "theory", GHOST);
      write("loss", LEFT, 7, "left", "ink-2");
      write("accuracy", LEFT, middle + 5, "left", "ink-2");
      write("guessing", width, loss(guess) - 7, "right");
      line("accent", columns.map((column, c) => [x(c), loss(column.loss)]), 1.75);
      line("accent", columns.map((column, c) => [x(c), share(column.accuracy)]), 1.75);
      const last = columns[columns.length - 1].loss;
      const beside = Math.min(x(columns.length), width - 70) + 4;
      if (!(last <= top)) write(number(last), beside, loss(top) + 6, "left", "ink");
      this.steps(write, LEFT, width, bottom + 11);
    }

    /** What the network makes of the plane, in two hues that stand for no gradient. @param {Look} its */
    drawSurface(its) {
      const { x, y, reach } = /** @type {NonNullable<Net["plane"]>} */ (this.plane);
      const { classes } = this, side = Math.sqrt(classes.length / 2);
      const { pen, width, height, dot } = sheet(this.parts.surface, its);
      const hues = ["category", "category-2"].map(its.token), colours = hues.map(hue => its.rgb(hue).slice(0, 3));
      const image = new ImageData(side, side);
      for (let i = 0; i < side * side; i++) {
        const share = classes[2 * i + 1], sure = 140 * Math.abs(2 * share - 1); // which is 0 where that is NaN
        image.data.set([...colours[Number(share > 0.5)], sure], 4 * i);
      }
      pen.drawImage(picture(this.picture, image), 0, 0, width, height);
      /** @type {(i: number) => [number, number]} */
      const at = i => [(x[2 * i] / reach + 1) * width / 2, (1 - x[2 * i + 1] / reach) * height / 2];
      y.forEach((label, i) => dot(...at(i), 1.6, hues[label]));
    }

    /** Writes the last step out, and returns it as a sentence. */
    words() {
      const { setting, state } = this, { step, loss, accuracy } = state, { role, word, text } = tell(setting, state);
      const facts = [`step ${step}`, `loss ${number(loss, 4)}`, `accuracy ${Math.round(100 * real(accuracy))} %`];
      this.parts.verdict.dataset.role = role;
      this.parts.verdict.replaceChildren(make("strong", { textContent: word }), ` ${text}`);
      this.parts.facts.textContent = facts.join("  ·  ");
      this.parts.rows.ariaLabel = `Gradient by ${setting.net === "mlp" ? "layer" : "time step"}. ${word} ${text}`;
      this.parts.curves.ariaLabel = `Loss and accuracy by step: ${facts.join(", ")}`;
      return `Step ${step}: loss ${number(loss, 3)}. ${word} ${text}`;
    }
  }

  // ---- The address -------------------------------------------------------------------------------------------------
  /** @type {(search: string) => boolean} */
  const isAsked = search => [...new URLSearchParams(search).keys()].some(key => !NOT_OURS.includes(key));
  /** @type {(query: URLSearchParams) => Setting} */
  const toSetting = query => window.vgTrain.parse(`?${[...query].map(pair => pair.join("=")).join("&")}`);
  /** @type {(setting: Setting) => string} */
  const toQuery = setting => window.vgTrain.query(setting);
  /** @type {(setting: Setting) => boolean} */
  const isLayered = ({ net }) => net === "mlp";

  /** One setting or two: `vs=activation:relu,init:he` says how the second differs. Throws what a reader can be told.
   * @param {string} search */
  function parse(search) {
    const query = new URLSearchParams(search), other = query.get("vs");
    for (const key of [...NOT_OURS, "vs"]) query.delete(key);
    const one = toSetting(query);
    if (other === null) return [one];
    for (const pair of other.split(",").filter(Boolean)) {
      const [key, value = ""] = pair.split(":");
      if (SHARED.includes(key)) throw new Error(`vs can’t name ${key}, which both networks share`);
      query.set(key, value);
    }
    const two = toSetting(query);
    if (isLayered(one) !== isLayered(two)) throw new Error("layers and a recurrent network have no data in common");
    return [one, two];
  }

  /** @param {Setting[]} settings */
  function address([one, two]) {
    const query = toQuery(one);
    if (!two) return `?${query || "net=mlp"}`; // the bare address is the page's opening
    const keys = Object.keys(two).filter(key => two[key] !== one[key]);
    return `?${query}${query && "&"}vs=${keys.map(key => `${key}:${two[key]}`).join(",")}`;
  }

  /** How a network differs that shows what ails the first, or what would cure it. @param {Setting} setting */
  const contrast = ({ net, activation, init, forget }) => (/** @type {Record<string, string>} */ ({
    mlp: activation === "relu" ? "activation:sigmoid,init:pytorch" : "activation:relu,init:he",
    rnn: init === "orthogonal" ? "init:pytorch" : "init:orthogonal", lstm: `forget:${forget ? 0 : 3}`, gru: "net:lstm",
  }))[net];

  // ---- The page ----------------------------------------------------------------------------------------------------
  class Page {
    settings = /** @type {Setting[]} */ ([]);
    nets = /** @type {Net[]} */ ([]);
    waiting = 0; // for a frame
    look = /** @type {Look | null} */ (null);
    range = /** @type {{ view: string, ends: number[] } | null} */ (null); // of the dots' axis
    post = /** @type {((question: Question) => void) | null} */ (null); // asks what trains
    worker = /** @type {Worker | null} */ (null);
    touched = ""; // the control that was changed last
    grid = new Float64Array(); // over the plane
    edited = 0; // the network that the controls speak of
    view = "gradients";
    playing = false;
    asked = false; // the worker owes an answer
    fresh = false; // something is not drawn yet
    turn = 0; // how many times networks were made
    owed = 0; // steps
    counted = 0; // when that was
    framed = 0; // when there last was a frame
    drawn = 0; // when it was last drawn, and spoken of, and the plane computed
    spoken = 0;
    pictured = 0;

    /** @param {any} root the section */
    constructor(root) {
      this.root = root;
      this.path = location.pathname;
      this.search = location.search; // of what is shown
      this.opening = root.dataset.opening; // what the bare address means
      this.find = (/** @type {string} */ name) => root.querySelector(`.vg-train-${name}`);
      this.form = this.find("controls");
      root.state = (i = 0) => this.nets[i]?.state ?? null;
      this.listen();
      if (isAsked(location.search)) this.follow();
    }

    listen() {
      const { form, root } = this;
      /** @type {(name: string, act: () => unknown) => void} */
      const click = (name, act) => this.find(name).addEventListener("click", act);
      for (const event of ["pointerover", "focusin"]) root.addEventListener(event, () => this.fetch(), { once: true });
      click("play", () => this.play(!this.playing));
      click("step", () => this.step());
      click("restart", async () => (await this.wake()) && this.start(this.settings));
      click("reseed", async () => (await this.wake()) && this.change("seed", (this.settings[0].seed + 1) % 2 ** 31));
      click("compare", () => this.compare());
      click("copy", () => this.copy(() => window.vgTrain.script(this.settings[this.edited])));
      click("share", () => this.copy(() => new URL(address(this.settings), location.href.split("#")[0]).href));
      form.addEventListener("submit", (/** @type {Event} */ event) => event.preventDefault());
      form.addEventListener("input", (/** @type {any} */ { target }) => this.label(target));
      form.addEventListener("change", (/** @type {any} */ { target }) => this.turned(target));
      this.find("views").addEventListener("change", (/** @type {any} */ { target }) => {
        this.view = target.value;
        this.repaint();
      });
      root.addEventListener("keydown", (/** @type {any} */ event) => {
        const used = event.target.closest("button, select, summary, a, pre, input:not([type=range])");
        if (event.key !== " " || used || event.ctrlKey || event.metaKey || event.altKey) return;
        event.preventDefault(); // the page would scroll
        this.play(!this.playing);
      });
      new ResizeObserver(() => this.repaint()).observe(this.find("nets"));
    }

    // ---- what trains
    /** The engine and a worker, or this page in its stead, which files may not start; whether they are there. */
    async fetch() {
      const inFiles = location.protocol === "file:";
      try {
        await Promise.all(["settings.js", "engine.js", ...(inFiles ? ["worker.js"] : [])].map(load));
      } catch (error) {
        return this.complain(`${reason(error)}.`);
      }
      if (this.post) return true;
      const take = (/** @type {Answer} */ answer) => this.take(answer);
      if (window.vgTrainServe) {
        const serve = window.vgTrainServe(take);
        this.post = async (/** @type {Question} */ question) => {
          if (question.digits) await load("digits.js");
          setTimeout(serve, 0, question);
        };
      } else {
        const worker = this.worker = new Worker(new URL("worker.js", HERE));
        worker.onmessage = ({ data }) => take(data);
        worker.onerror = ({ message }) => {
          this.play(false);
          this.complain(`The training stopped: ${message || "its worker could not be loaded"}.`);
        };
        this.post = question => worker.postMessage(question);
      }
      return true;
    }

    /** Networks to train: those of the address, unless there are others. */
    async wake() {
      this.stage(this.search);
      if (!(await this.fetch())) return false;
      if (!this.nets.length) this.start(parse(isAsked(this.search) ? this.search : this.opening));
      return true;
    }

    /** Makes room for what an address asks for before it is there, so that nothing moves later. @param {string} search */
    stage(search) {
      this.form.hidden ||= !this.nets.length && isAsked(search); // until the controls can say what it says
      this.root.dataset.live ??= /\bvs=/.test(isAsked(search) ? search : this.opening) ? 2 : 1;
    }

    /** @param {Setting[]} settings */
    start(settings) {
      this.settings = settings;
      this.edited = Math.min(this.edited, settings.length - 1);
      this.nets = settings.map(setting => new Net(setting, this.describe(setting, settings)));
      this.find("nets").replaceChildren(...this.nets.map(net => net.element));
      this.root.dataset.live = settings.length;
      this.range = null;
      this.write();
      this.turn += 1;
      this.asked = true;
      this.post?.({ make: this.turn, settings, steps: 1, digits: settings[0].data === "digits" });
    }

    /** The worker's answer; its first one brings the points of two-dimensional data. @param {Answer} answer */
    take({ make, states, classes, data }) {
      if (make !== this.turn) return; // of networks that have gone
      this.asked = false;
      const { nets } = this;
      if (data) this.span(data);
      for (const step of states) step.forEach((state, i) => nets[i].take(state));
      classes?.forEach((shares, i) => (nets[i].classes = shares));
      if (nets.every(({ state }) => Number.isNaN(real(state.loss)))) this.play(false); // nothing else can come
      this.repaint();
      this.train(); // a frame may be long in coming: what trains needn't wait for it
    }

    /** Lays a grid over the points, for the network to say what it makes of the plane.
     * @param {NonNullable<Answer["data"]>} points */
    span({ x, y }) {
      const reach = 1.1 * Math.max(...x.map(Math.abs)), side = 36;
      const at = (/** @type {number} */ k) => reach * ((2 * k + 1) / side - 1);
      const cell = (/** @type {number} */ i) => Math.floor(i / 2);
      const place = (/** @type {number} */ i) => (i % 2 ? -at(Math.floor(cell(i) / side)) : at(cell(i) % side));
      this.grid = Float64Array.from({ length: 2 * side * side }, (_, i) => place(i));
      for (const net of this.nets) net.plane = { x, y, reach };
      this.pictured = 0;
    }

    /** @param {boolean} on */
    async play(on) {
      if (on && !(await this.wake())) return;
      const button = this.find("play"), ended = this.playing && !on;
      Object.assign(this, { playing: on, counted: performance.now(), owed: 0 });
      button.textContent = on ? "Pause" : "Play";
      button.toggleAttribute("data-on", on);
      this.repaint();
      if (ended) this.say();
    }

    async step() {
      const there = this.nets.length;
      if (!(await this.wake()) || !there) return; // the first step is there as soon as the networks are
      this.play(false);
      this.ask(1);
    }

    /** @param {number} steps @param {number} [ms] */
    ask(steps, ms) {
      if (this.asked) return;
      const old = this.nets[0].plane !== null && performance.now() - this.pictured > 120;
      if (old) this.pictured = performance.now();
      this.asked = true;
      this.post?.({ make: this.turn, steps, ms, points: old ? this.grid : null });
    }

    // ---- what is seen
    repaint() {
      this.fresh = true;
      this.frame();
    }

    /** Draws, and trains, as long as there is need: a tab in the background gets no frames, and rests. */
    frame() {
      this.waiting ||= requestAnimationFrame(now => {
        this.waiting = 0;
        this.framed = now;
        const calm = this.playing && matchMedia("(prefers-reduced-motion: reduce)").matches ? CALM : 0;
        if (this.fresh && now - this.drawn >= calm) this.paint(now);
        this.train();
        if (this.playing && !document.hidden && this.root.isConnected) this.frame();
      });
    }

    /** Asks for the steps that are due by now. */
    train() {
      const now = performance.now(), rate = Number(this.find("speed").value) / 1000;
      if (!this.playing || this.asked || document.hidden || now - this.framed > PATIENCE) return;
      this.owed = Math.min(this.owed + rate * (now - this.counted), 1 + 100 * rate); // the rest is let go
      this.counted = now;
      if (this.owed < 1) return;
      this.ask(Math.floor(this.owed), SLICE);
      this.owed %= 1;
    }

    /** @param {number} now */
    paint(now) {
      const { nets, view } = this, { log } = VIEWS[view];
      if (!nets.length || nets.some(({ state }) => !state)) return;
      this.fresh = false;
      this.drawn = now;
      this.look ??= look(document.body);
      const shown = nets.flatMap(net => net.lists(view)).flat().filter(Number.isFinite);
      // An axis only grows, and so holds still.
      let [low, high] = this.range?.view === view ? this.range.ends : [Infinity, -Infinity];
      for (const value of log && shown.length ? shown : [0, 1]) {
        low = Math.min(low, Math.floor(value));
        high = Math.max(high, Math.ceil(value), low + 1);
      }
      this.range = { view, ends: [low, high] };
      for (const net of nets) net.draw(this.look, view, this.range.ends);
      for (const net of nets) net.words(); // last: a canvas asked for its size after that would lay out the page anew
      if (this.playing && now - this.spoken > SPOKEN) this.say();
    }

    /** The theme has changed, or the page goes to paper. */
    dress(scope = document.body) {
      this.look = look(scope);
      this.paint(performance.now());
    }

    say() {
      const { nets } = this, many = nets.length > 1;
      if (nets.some(({ state }) => !state)) return;
      this.spoken = performance.now();
      const told = nets.map((net, i) => (many ? `Network ${i + 1}. ` : "") + net.words());
      this.find("said").textContent = told.join(" ");
      const columns = nets.flatMap(({ state }, i) => Object.values(VIEWS).flatMap(({ lists }) => lists)
        .filter(key => state[key]).map(key => ({ name: many ? `${i + 1}: ${key}` : key, values: state[key] })));
      const cell = (/** @type {string} */ tag, /** @type {any} */ textContent) => make(tag, { textContent });
      const head = [isLayered(nets[0].setting) ? "layer" : "time step", ...columns.map(({ name }) => name)];
      const rows = columns[0].values.map((/** @type {Told} */ _, /** @type {number} */ i) => [cell("th", i + 1),
        ...columns.map(({ values }) => cell("td", i in values ? number(values[i], 4) : ""))]);
      this.find("table").replaceChildren(make("table", {},
        make("thead", {}, make("tr", {}, ...head.map(name => cell("th", name)))),
        make("tbody", {}, ...rows.map((/** @type {Element[]} */ cells) => make("tr", {}, ...cells)))));
    }

    // ---- the controls
    /** The control of a key, by `namedItem` because `length` is a property as well; recurrent networks have other data.
     * @param {string} key @param {Setting} setting */
    field(key, { net }) {
      return this.form.elements.namedItem(key === "data" && net !== "mlp" ? "task" : key);
    }

    /** Shows the edited network's setting in the controls. */
    write() {
      const setting = this.settings[this.edited], both = this.settings.length > 1;
      for (const label of this.form.querySelectorAll("[data-for]")) {
        label.hidden = !label.dataset.for.includes(setting.net);
      }
      for (const [key, value] of Object.entries(setting)) {
        const field = this.field(key, setting), text = String(value);
        if (field.options && ![...field.options].some(option => option.value === text)) field.add(new Option(text));
        field.value = text;
        this.label(field);
      }
      const { which } = this.form.elements;
      which.value = this.edited;
      which[1].disabled = !both;
      this.find("compare").textContent = both ? "Show one" : "Compare two";
      this.find("code").textContent = window.vgTrain.script(setting);
      this.find("command").textContent = `vgdocs train "${toQuery(setting)}" --steps 100`;
      this.form.hidden = false;
      const here = address(this.settings);
      const links = /** @type {NodeListOf<HTMLAnchorElement>} */ (document.querySelectorAll(".vg-train-presets a"));
      for (const link of links) {
        link.ariaCurrent = address(parse(link.search)) === here ? "true" : null;
      }
    }

    /** What a slider says. @param {any} field */
    label(field) {
      const said = field.parentElement.querySelector("output");
      if (said) said.textContent = field.value;
    }

    /** @param {any} control */
    async turned({ name, value, type }) {
      const walk = type === "range" && this.touched === name; // a walk along a slider is one entry of the history
      this.touched = name;
      if (!(await this.wake())) return;
      if (name !== "which") return this.change(name === "task" ? "data" : name, value, walk);
      this.edited = Number(value);
      this.write();
    }

    /** @param {string} key @param {any} value */
    change(key, value, walk = false) {
      // From layers to a recurrent network, or back: then both go, because they would have no data in common.
      const moved = key === "net" && isLayered({ net: value }) !== isLayered(this.settings[0]);
      try {
        const next = this.settings.map((setting, i) => {
          if (i !== this.edited && !moved && !SHARED.includes(key)) return setting;
          const { optimizer, seed } = setting;
          const query = new URLSearchParams(moved ? { optimizer, seed } : toQuery(setting));
          if (key === "optimizer") query.delete("lr"); // each has its own
          query.set(key, value);
          return toSetting(query);
        });
        this.complain("");
        this.start(next);
        this.remember(walk);
      } catch (error) {
        this.complain(`${reason(error)}.`);
        this.write(); // what holds
      }
    }

    async compare() {
      if (!(await this.wake())) return;
      const [one, two] = this.settings;
      this.edited = two ? 0 : 1;
      this.start(two ? [one] : parse(`${toQuery(one)}&vs=${contrast(one)}`));
      this.remember();
    }

    /** @param {Setting} setting @param {Setting[]} all */
    describe(setting, all) {
      const { depth, width, length, norm, skip, forget, gain, lr } = setting;
      const options = (/** @type {string} */ key) => [...this.field(key, setting).options];
      const text = (/** @type {string} */ key) => options(key).find(({ value }) => value === String(setting[key])).label;
      const size = isLayered(setting) ? `${depth} layer${depth > 1 ? "s" : ""}` : `${length} steps`;
      const kind = text(isLayered(setting) ? "activation" : "net");
      const parts = [kind, width === 32 ? size : `${size} of ${width}`, text("init")];
      if (gain !== 1) parts.push(`× ${gain}`);
      if (isLayered(setting) && norm !== "none") parts.push(text("norm"));
      if (isLayered(setting) && skip !== "none") parts.push(text("skip"));
      if (forget) parts.push(`forget bias ${forget}`);
      if (all.some(other => other.lr !== lr) || all.length === 1) parts.push(`${text("optimizer")} ${lr}`);
      return parts.join(", ");
    }

    // ---- the address
    follow() {
      this.search = location.search;
      this.obey(location.search);
    }

    /** Shows what a query asks for, or says why not and shows the opening; whether anything could be shown.
     * @param {string} search */
    async obey(search) {
      this.stage(search);
      if (!(await this.fetch())) return false;
      let settings = parse(this.opening);
      try {
        if (isAsked(search)) settings = parse(search);
        this.complain("");
      } catch (error) {
        this.complain(`The address asks for what isn’t here: ${reason(error)}. Shown is what the page opens with.`);
      }
      this.edited = 0;
      this.play(false);
      this.start(settings);
      return true;
    }

    /** @param {string} search */
    async open(search) {
      if (!(await this.obey(search))) return;
      this.remember();
      this.find("bar").scrollIntoView({ block: "nearest" });
    }

    remember(walk = false) {
      const search = address(this.settings);
      if (search === location.search) return;
      const state = { x: scrollX, y: scrollY }; // what Material keeps there, to scroll to on the way back
      history.replaceState(state, "");
      history[walk ? "replaceState" : "pushState"](state, "", search);
      this.search = search;
    }

    /** @param {string} text */
    complain(text) {
      Object.assign(this.find("complaint"), { textContent: text, hidden: !text });
    }

    /** @param {() => string} what */
    async copy(what) {
      if (!(await this.wake())) return;
      const said = this.find("copied"), text = what();
      try {
        await navigator.clipboard.writeText(text);
        said.textContent = "Copied.";
      } catch { // not allowed
        const instead = URL.canParse(text) ? text : "The script stands below.";
        said.textContent = `This browser doesn’t let a page copy. ${instead}`;
        this.find("script").open = true;
      }
    }
  }

  let current = /** @type {Page | null} */ (null); // of the page that is shown
  const isShown = () => current?.root.isConnected && location.pathname === current.path;

  // Before Material's instant navigation, which doesn't look at the query: as in explore.js.
  document.addEventListener("click", event => {
    const link = event.target instanceof Element && event.target.closest("a[href]");
    if (!(link instanceof HTMLAnchorElement) || !current || !isShown()) return;
    if (link.target || event.metaKey || event.ctrlKey || event.shiftKey) return;
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
    if (!current || document.hidden) return;
    current.counted = performance.now();
    current.frame();
  });
  new MutationObserver(() => current?.dress()).observe(document.body, { attributeFilter: ["data-md-color-scheme"] });
  const paper = document.body.appendChild(make("div", { hidden: true })); // is white, whatever the screen is
  paper.dataset.mdColorScheme = "default";
  addEventListener("beforeprint", () => current?.dress(paper));
  addEventListener("afterprint", () => current?.dress());

  window.vg.train = root => {
    if (current?.root === root) return;
    current?.worker?.terminate();
    current = new Page(root);
  };
  const waiting = document.querySelector(".vg-train");
  if (waiting) window.vg.train(waiting); // vg.js has been here before this file was
})();
