/* The explorer of docs/explore.md: shows what was measured for a setting, keeps the setting in the address, and hands
 * it over as PyTorch code. vg.js fetches this file when a page holds a `.vg-explorer`, and calls `vg.explore` with it.
 * The measurements are plain numbers, a file in explore/ for each normalisation and skip: vgdocs.explorer.grid says what
 * is where. They are fetched once they are wanted: when the address names a setting, when a control is approached, or
 * when the map comes into view. Until then the page shows its opening setting as a plain figure.
 */
(() => {
  "use strict";
  const FOLDER = new URL("explore/", document.currentScript.src);
  const { make } = window.vg;
  const header = (scope, text) => make("th", { scope, textContent: text });

  // ---- The measurements ------------------------------------------------------------------------------------------
  // scripts, which work from the file system as well
  const load = name => window.vg.load(new URL(`${name}.js`, FOLDER), "The measurements", () => window.vgGrid?.[name]);
  const fileOf = ({ norm, skip }) => `${norm}-${skip}`;

  /** What the page asks of the files that are there; all results are decimal logarithms, but for rates. */
  function openGrid(common) {
    const { axes, layers, units, seeds, width, batch } = common;
    const columnOf = (name, setting) => window.vgGrid[fileOf(setting)][name][setting.depth];
    const placeOf = setting => ["family", "activation", "sigma_w2"].reduce(
      (place, axis) => place * axes[axis].length + axes[axis].indexOf(setting[axis]), 0);

    function at(setting) {
      const place = placeOf(setting), column = name => columnOf(name, setting);
      const one = (name, row) => row[place] * units[name], each = (name, rows) => rows.map(row => one(name, row));
      const number = name => {
        const [median, below, above] = column(name).map(row => one(name, row));
        return { median, lo: median - below, hi: median + above };
      };
      const profile = name => {
        const [median, below, above] = column(name).map(rows => each(name, rows));
        return { median, lo: median.map((m, i) => m - below[i]), hi: median.map((m, i) => m + above[i]) };
      };
      const gradient = profile("gradient"), last = gradient.median.at(-1), rate = Object.entries(number("rate"));
      return {
        layers: layers[setting.depth], gradient, forward: profile("forward"), ratio: number("ratio"),
        theory: each("theory", column("theory")).map(value => value + last), // from where the measured one starts
        rate: Object.fromEntries(rate.map(([part, log10]) => [part, 10 ** log10])),
        theoryRate: 10 ** one("theory_rate", column("theory_rate")),
        gradientOf: setting.skip === "none" ? "z" : "h",
      };
    }

    /** The median rates of the map: a row an activation, a column a scale. */
    const rates = setting => axes.activation.map(activation => axes.sigma_w2.map(sigma_w2 =>
      10 ** (columnOf("rate", setting)[0][placeOf({ ...setting, activation, sigma_w2 })] * units.rate)));

    function snippet(setting) {
      const { script, fillings } = common.snippet, numbers = { ...setting, width, batch, seed: seeds[0] };
      return script.replace(/\{\{(\w+)\}\}/g, (_, name) => fillings[name]?.[setting[name]] ?? numbers[name]);
    }

    return { ...common, at, rates, snippet };
  }

  // ---- Numbers, in words -----------------------------------------------------------------------------------------
  const minus = text => text.replace("-", "−");

  /** 10**log10 as print would set it: 0.412, 17, 4.6 × 10⁻⁹; `html` for the page, `text` for names and options. */
  function number(log10, digits = 2, html = true) {
    if (Number.isNaN(log10)) return "NaN";
    if (log10 === Infinity) return "infinity";
    if (log10 === -Infinity) return "exactly 0";
    if (log10 > -2.5 && log10 < 4) return minus(String(Number((10 ** log10).toPrecision(digits))));
    let exponent = Math.floor(log10), mantissa = (10 ** (log10 - exponent)).toPrecision(digits);
    if (Number(mantissa) >= 10) mantissa = (1).toPrecision(digits), exponent += 1; // 9.96 was rounded up
    const power = minus(String(exponent));
    return html ? `${mantissa} × 10<sup>${power}</sup>` : `${mantissa}e${exponent}`;
  }

  /** A factor per layer; near 1 the third decimal counts. */
  function factor(rate, digits = 3) {
    if (!Number.isFinite(rate) || rate <= 0) return number(Math.log10(rate));
    return rate > 0.1 && rate < 10 ? rate.toFixed(digits) : number(Math.log10(rate), digits);
  }

  // ---- What a measurement means ----------------------------------------------------------------------------------
  // log10 of the largest number of a format, of the smallest that is kept with all its digits, and of half the smallest
  // there is, which is what rounds to zero.
  const FORMATS = {
    float16: { largest: Math.log10(65504), normal: -14 * Math.log10(2), nothing: -25 * Math.log10(2) },
    float32: { largest: 128 * Math.log10(2), normal: -126 * Math.log10(2), nothing: -150 * Math.log10(2) },
  };
  const KINDS = [ // by the ratio of the first layer's gradient to the last one's, within a factor of ...
    { role: "healthy", within: 1, word: "It arrives." }, // ... ten
    { role: "vanishing", below: -3, word: "It vanishes." }, { role: "exploding", above: 3, word: "It explodes." },
    { role: "vanishing", below: -1, word: "It fades." }, { role: "exploding", above: 1, word: "It grows." },
  ];
  const kindOf = log10 => KINDS.find(k => Math.abs(log10) <= k.within || log10 < k.below || log10 > k.above);

  /** How many layers below the last one a log10 profile, relative to the last layer, first passes a bound; null if never. */
  function passes(layers, profile, beyond) {
    const last = layers.length - 1;
    for (let i = last - 1; i >= 0; i--) {
      if (!beyond(profile[i])) continue;
      for (let layer = layers[i + 1] - 1; layer >= layers[i]; layer--) { // between two knots on a straight line
        const share = (layers[i + 1] - layer) / (layers[i + 1] - layers[i]);
        const value = profile[i + 1] + share * (profile[i] - profile[i + 1]);
        if (layer === layers[i] || beyond(value)) return layers[last] - layer;
      }
    }
    return null;
  }

  const down = steps => `${steps} ${steps === 1 ? "layer" : "layers"} down`;

  /** What becomes of a gradient that is 1 at the last layer if it is stored in float16 or float32. */
  function precision(layers, profile) {
    const fates = Object.entries(FORMATS).map(([name, { largest, normal, nothing }]) => {
      const over = passes(layers, profile, value => value > largest);
      const zero = passes(layers, profile, value => value < nothing);
      const coarse = passes(layers, profile, value => value < normal);
      if (over !== null) return { name, fate: `overflows to infinity ${down(over)}` };
      if (zero !== null) return { name, fate: `has rounded it to zero ${down(zero)}` };
      if (coarse !== null) return { name, fate: `keeps only some of its digits from ${down(coarse)}` };
      return { name, fate: "" };
    });
    const lost = fates.filter(({ fate }) => fate).map(({ name, fate }) => `${name} ${fate}`);
    const held = fates.filter(({ fate }) => !fate).map(({ name }) => name);
    if (held.length) lost.push(`${held.join(" and ")} ${held.length > 1 ? "hold" : "holds"} it all the way`);
    return `Of a gradient of 1 at the last layer: ${lost.join("; ")}.`;
  }

  /** Below the last layer, relative to its median; what is not finite stays so. */
  const relative = (values, last) => values.map(value => (Number.isFinite(last) ? value - last : value));

  function verdict({ depth }, { layers, gradient, forward, rate, ratio }) {
    const wrong = value => !Number.isFinite(value), found = [];
    const back = gradient.median.findLastIndex(wrong), ahead = forward.median.findIndex(wrong);
    if (ahead >= 0) found.push(`the forward signal is ${number(forward.median[ahead])} at layer ${layers[ahead]}`);
    if (back >= 0) found.push(`the gradient is ${number(gradient.median[back])} at layer ${layers[back]}`);
    if (found.length || wrong(rate.median)) {
      const what = found.length ? found.join(", and ") : "some of the networks do, between the layers drawn";
      const html = `<strong>It leaves the numbers.</strong> Even in float64: ${what}. There is no rate.`;
      return { role: "exploding", html };
    }
    const { role, word } = kindOf(ratio.median);
    const left = ratio.median < 0 ? "of the gradient is left" : "times the gradient comes out";
    return { role, html: `<strong>${word}</strong> ×${factor(rate.median)} per layer going backward: after ${depth} layers ` +
      `${number(ratio.median)} ${left}. ${precision(layers, relative(gradient.median, gradient.median.at(-1)))}` };
  }

  // ---- The plot --------------------------------------------------------------------------------------------------
  const STRANGE = [ // what no axis has a place for gets a mark at its edge, with its name
    { name: "infinity", is: v => v === Infinity, edge: 1, symbol: "triangle-up" },
    { name: "exactly 0", is: v => v === -Infinity, edge: 0, symbol: "triangle-down" },
    { name: "NaN", is: Number.isNaN, edge: 0, symbol: "x" },
  ];

  /** A log10 axis that shows all finite values and at least one decade, so that noise doesn't fill it. */
  function span(...lists) {
    const values = lists.flat().filter(Number.isFinite);
    const [low, high] = values.length ? [Math.min(...values), Math.max(...values)] : [0, 0];
    const middle = (low + high) / 2, half = Math.max((high - low) * 0.54, 0.6);
    return [middle - half, middle + half];
  }

  /** Ticks at powers of ten, or at 1, 2, 5 where there is room for less than two of those. */
  function ticks([low, high]) {
    const first = Math.ceil(low), count = Math.max(0, Math.floor(high) - first + 1);
    const decades = Array.from({ length: count }, (_, i) => first + i);
    const every = Math.ceil(count / 5), coarse = decades.filter(exponent => exponent % every === 0);
    const fine = [...decades, first - 1].flatMap(exponent => [1, 2, 5].map(m => exponent + Math.log10(m)));
    const logs = count > 1 ? coarse : fine;
    const text = log => (Math.abs(log) < 3 ? number(log, 1) : `10<sup>${minus(String(log))}</sup>`);
    return { tickvals: logs.map(log => 10 ** log), ticktext: logs.map(text) };
  }

  const power = values => values.map(value => (Number.isFinite(value) ? 10 ** value : null));

  /** A band and its line, and a mark for whatever is not finite. */
  function curve(layers, { median, lo, hi }, name, yaxis, range, meta) {
    const inside = layers.map((_, i) => i).filter(i => Number.isFinite(lo[i]) && Number.isFinite(hi[i]));
    const shared = { yaxis, legendgroup: name };
    const around = [...inside.map(i => [i, hi]), ...inside.toReversed().map(i => [i, lo])];
    return [
      { ...shared, name, x: around.map(([i]) => layers[i]), y: around.map(([i, bound]) => 10 ** bound[i]), mode: "lines",
        fill: "toself", meta: { role: meta, band: true } },
      { ...shared, name, x: layers, y: power(median), mode: "lines+markers", meta },
      ...STRANGE.flatMap(({ name: value, is, edge, symbol }) => {
        const x = layers.filter((_, i) => is(median[i]));
        if (!x.length) return [];
        const title = `${name}: ${value}`;
        return { ...shared, name: title, legendgroup: title, x, y: x.map(() => 10 ** range[edge]), mode: "markers", meta,
                 marker: { symbol, size: 9 }, cliponaxis: false, hovertemplate: `layer %{x}: ${value}<extra></extra>` };
      }),
    ];
  }

  function plot(result, role) {
    const { layers, gradient, forward, theory, gradientOf } = result, last = gradient.median.at(-1);
    const shifted = Object.fromEntries(Object.entries(gradient).map(([key, values]) => [key, relative(values, last)]));
    const line = theory.some(Number.isFinite) && relative(theory, last);
    const ranges = [span(shifted.lo, shifted.hi, line || []), span(forward.lo, forward.hi)];
    const data = [
      ...curve(layers, shifted, "gradient", "y", ranges[0], role),
      ...curve(layers, forward, "forward signal", "y2", ranges[1]),
    ];
    if (line) data.push({ name: "theory", x: layers, y: power(line), mode: "lines", meta: "theory" });
    const axis = (range, domain, text) => ({ type: "log", range, domain, title: { text }, ...ticks(range) });
    return { data, layout: {
      xaxis: { title: { text: "layer" }, anchor: "y2", range: [1 - layers.at(-1) * 0.02, layers.at(-1) * 1.02] },
      yaxis: axis(ranges[0], [0.4, 1], `‖∂L/∂${gradientOf}‖ relative to the last layer`),
      yaxis2: axis(ranges[1], [0, 0.3], "rms of h"),
      hovermode: "x unified",
    } };
  }

  // ---- The address -----------------------------------------------------------------------------------------------
  const INITS = { pytorch: 1 / 3, lecun: 1, xavier: 1, he: 2 }; // as vgdocs.experiments.SIGMA_W2
  const CHOICES = ["activation", "family", "norm", "skip", "depth"];
  const SCALE = ["init", "gain", "sigma_w2"], NOT_OURS = ["h", "q"]; // those are of Material's search
  const isAsked = search => [...new URLSearchParams(search).keys()].some(key => !NOT_OURS.includes(key));
  const near = (a, b) => Math.abs(a / b - 1) < 0.01;
  const initOf = sigma_w2 => ["pytorch", "xavier", "he"].find(name => near(INITS[name], sigma_w2));

  /** The query of a setting, in the words of `vgdocs explore`. */
  function address({ activation, family, sigma_w2, norm, skip, depth }) {
    const init = initOf(sigma_w2), scale = init ? { init } : { sigma_w2 };
    return `?${new URLSearchParams({ activation, family, ...scale, norm, skip, depth })}`;
  }

  /** The setting on the grid that an address names, and what is wrong with the address. */
  function parse(search, axes, opening) {
    const query = new URLSearchParams(search), setting = { ...opening }, complaints = [];
    for (const [key, text] of query) {
      const known = { ...axes, init: Object.keys(INITS) }[key];
      if (CHOICES.includes(key) || key === "init") {
        const value = known.find(v => String(v) === text);
        if (value === undefined) complaints.push(`“${text}” is no ${key} here, known are ${known.join(", ")}`);
        else if (key === "init") setting.sigma_w2 = INITS[value];
        else setting[key] = value;
      } else if (![...SCALE, ...NOT_OURS].includes(key)) complaints.push(`nothing here is called “${key}”`);
    }
    let wanted = setting.sigma_w2;
    for (const [key, scaled] of [["sigma_w2", value => value], ["gain", value => wanted * value ** 2]]) {
      if (!query.has(key)) continue;
      const value = Number(query.get(key) || NaN);
      if (value > 0 && value < Infinity) wanted = scaled(value);
      else complaints.push(`${key} is a number above 0, not “${query.get(key)}”`);
    }
    const distance = value => Math.abs(Math.log(value / wanted));
    setting.sigma_w2 = axes.sigma_w2.reduce((best, value) => (distance(value) < distance(best) ? value : best));
    if (!near(setting.sigma_w2, wanted)) {
      complaints.push(`a variance of ${Number(wanted.toPrecision(3))} isn’t on the grid, the nearest is shown`);
    }
    return { setting, complaints };
  }

  /** The same setting for the command line, which knows Gaussian weights by four names and orthogonal ones by one. */
  function command({ activation, family, sigma_w2, norm, skip, depth }) {
    const init = family === "orthogonal" ? "orthogonal" : initOf(sigma_w2) ?? "lecun";
    const gain = Number(Math.sqrt(sigma_w2 / (INITS[init] ?? 1)).toPrecision(6));
    const options = { activation, init, ...(gain === 1 ? {} : { gain }), norm, skip, depth };
    return `vgdocs explore ${Object.entries(options).map(([key, value]) => `--${key} ${value}`).join(" ")}`;
  }

  // ---- The map ---------------------------------------------------------------------------------------------------
  /** How far from 1, in percent: full at a factor of two, and steep near 1, because many layers multiply it. */
  const heat = rate => {
    const doublings = Number.isFinite(rate) ? Math.abs(Math.log2(rate)) : 1;
    return `${Math.round(100 * Math.sqrt(Math.min(1, doublings)))}%`;
  };
  const brief = rate => (rate >= 99.5 ? number(Math.log10(rate), 1) : rate.toPrecision(rate < 0.0995 ? 1 : 2));

  /** A table of links, one for each activation and scale. */
  function drawMap(grid, setting, names) {
    const { axes, critical } = grid, rates = grid.rates(setting);
    const plain = setting.norm === "none" && setting.skip === "none";
    const cells = (activation, a) => axes.sigma_w2.map((sigma_w2, s) => {
      const its = { ...setting, activation, sigma_w2 }, shown = address(its) === address(setting);
      const rate = rates[a][s], finite = Number.isFinite(rate), first = finite ? null : grid.at(its).gradient.median[0];
      const sign = finite ? brief(rate) : { Infinity: "∞", "-Infinity": "0" }[first] ?? "NaN";
      const words = finite ? `×${factor(rate)} per layer` : `no rate, ${number(first)} at the first layer`;
      const link = make("a", { href: address(its), tabIndex: shown ? 0 : -1, innerHTML: sign });
      link.ariaLabel = `${names.activation(activation)}, ${names.scale(sigma_w2)}: ${words}`;
      if (shown) link.ariaCurrent = "true";
      link.dataset.way = rate < 1 ? "down" : "up";
      link.style.setProperty("--heat", heat(rate));
      const cell = make("td", { role: "gridcell" }, link), here = plain && critical[activation];
      // The line passes through a scale at which theory's rate is 1, or before the first one that lies above.
      if (here && near(sigma_w2, here)) cell.dataset.critical = "on";
      else if (here && sigma_w2 > here && !(axes.sigma_w2[s - 1] > here * 0.99)) cell.dataset.critical = "before";
      return cell;
    });
    const rows = axes.activation.map((activation, a) =>
      make("tr", {}, header("row", names.activation(activation)), ...cells(activation, a)));
    const corner = make("th", { scope: "col", innerHTML: "σ<sub>w</sub>²" });
    const head = make("tr", {}, corner, ...axes.sigma_w2.map(value => header("col", short(value))));
    return make("table", { role: "grid", ariaLabel: "Rate per layer by activation and variance of the weights" },
      make("thead", {}, head), make("tbody", {}, ...rows));
  }

  /** Where an arrow key, Home or End leads from a cell of the map. */
  function step(key, cell) {
    const { cells, parentElement } = cell.parentElement, column = cell.cellIndex;
    const row = offset => parentElement.rows[[...parentElement.rows].indexOf(cell.parentElement) + offset]?.cells[column];
    const ways = { ArrowLeft: () => cells[column - 1], ArrowRight: () => cells[column + 1], ArrowUp: () => row(-1),
                   ArrowDown: () => row(1), Home: () => cells[1], End: () => cells[cells.length - 1] };
    return ways[key]?.()?.querySelector("a");
  }

  // ---- The page --------------------------------------------------------------------------------------------------
  const short = sigma_w2 => (near(sigma_w2, 1 / 3) ? "1/3" : String(Number(sigma_w2.toPrecision(3))));

  class Explorer {
    constructor(root) {
      this.root = root;
      this.path = location.pathname;
      this.search = location.search; // of what is shown
      this.touched = null; // the control that was changed last
      this.turn = 0; // how many settings were asked for
      this.find = name => document.querySelector(`.vg-explorer-${name}`); // the map has a section of its own
      this.form = this.find("controls");
      this.fields = this.form.elements;
      this.opening = this.read();
      this.names = {
        activation: value => this.text("activation", value),
        scale: value => `variance ${short(value)}${this.mark(value)}`,
      };
      this.listen();
      if (isAsked(this.search)) this.follow();
    }

    listen() {
      const { form } = this, map = this.find("map");
      for (const event of ["pointerover", "focusin"]) form.addEventListener(event, () => this.wake());
      form.addEventListener("input", ({ target }) => this.change(target, false));
      form.addEventListener("change", ({ target }) => this.change(target, true));
      form.addEventListener("submit", event => event.preventDefault());
      form.addEventListener("click", ({ target }) => {
        if (!target.dataset.at) return; // not one of the slider's marks
        this.fields.scale.value = target.dataset.at;
        this.change(target, true);
      });
      new IntersectionObserver((entries, observer) => {
        if (!entries.some(entry => entry.isIntersecting)) return;
        observer.disconnect();
        this.wake();
      }).observe(map);
      const hint = ({ target }) => { if (target.ariaLabel) this.find("hint").textContent = target.ariaLabel; };
      for (const event of ["focusin", "pointerover"]) map.addEventListener(event, hint);
      map.addEventListener("keydown", event => {
        const cell = event.target.closest("td"), link = cell && step(event.key, cell);
        if (!link) return;
        event.preventDefault(); // the page would scroll
        Object.assign(event.target, { tabIndex: -1 });
        Object.assign(link, { tabIndex: 0 }).focus();
      });
      this.find("copy").addEventListener("click", () => this.copy());
    }

    /** What the controls say; the scale as the slider's position. */
    read() {
      const { activation, family, norm, skip, depth, scale } = this.fields;
      return { activation: activation.value, family: family.value, norm: norm.value, skip: skip.value,
               depth: Number(depth.value), at: Number(scale.value) };
    }

    /** The same with the scale as a variance, once the axis is there. */
    settle({ at, ...setting }) {
      return { ...setting, sigma_w2: this.grid.axes.sigma_w2[at] };
    }

    write(setting) {
      for (const key of CHOICES) this.fields[key].value = setting[key];
      this.fields.scale.value = this.grid.axes.sigma_w2.indexOf(setting.sigma_w2);
    }

    text(key, value) {
      return [...this.fields[key].options].find(option => option.value === value).text;
    }

    mark(sigma_w2) {
      const mark = this.grid.marks.find(mark => near(mark.sigma_w2, sigma_w2));
      return mark ? ` (${mark.names.join(", ")})` : "";
    }

    parse(search) {
      return parse(search, this.grid.axes, this.settle(this.opening));
    }

    /** Fetches files of measurements; whether they are there. */
    async fetch(...names) {
      try {
        await Promise.all(names.map(load));
        this.grid ??= openGrid(window.vgGrid.grid);
        return true;
      } catch (error) {
        this.complain(`${error.message}.`);
        return false;
      }
    }

    /** The map of the opening setting, unless there is one of another. */
    async wake() {
      const { opening } = this;
      if (!(await this.fetch("grid", fileOf(opening))) || isAsked(this.search)) return;
      if (!this.find("map").hasChildNodes()) this.paintMap(this.settle(opening));
    }

    async change(control, settled) {
      const choice = this.read(), turn = ++this.turn;
      if (!(await this.fetch("grid", fileOf(choice))) || turn !== this.turn) return; // another choice was faster
      const setting = this.settle(choice);
      this.complain("");
      this.show(setting);
      if (settled) this.remember(setting, control);
    }

    /** Shows what the address asks for: after loading, back and forward. */
    follow() {
      this.search = location.search;
      this.stage(); // at once, so that nothing moves when the measurements are there
      this.obey(location.search);
    }

    /** The setting that a query names, shown; null if it can't be, or if another was asked for meanwhile. */
    async obey(search) {
      const turn = ++this.turn;
      if (!(await this.fetch("grid"))) return null;
      const { setting, complaints } = this.parse(search);
      if (!(await this.fetch(fileOf(setting))) || turn !== this.turn) return null;
      this.complain(complaints.length ? `The address asks for what isn’t here: ${complaints.join("; ")}.` : "");
      this.write(setting);
      this.show(setting);
      return setting;
    }

    async open(search) {
      const setting = await this.obey(search);
      if (!setting) return;
      this.remember(setting, null);
      this.find("verdict").scrollIntoView({ block: "nearest" });
    }

    /** A new entry of the history; a walk along the slider is one entry. */
    remember(setting, control) {
      const search = address(setting), walk = control?.type === "range" && control === this.touched;
      this.touched = control;
      if (search === location.search) return;
      const state = { x: scrollX, y: scrollY }; // what Material keeps there, to scroll to on the way back
      history.replaceState(state, "");
      history[walk ? "replaceState" : "pushState"](state, "", search);
      this.search = search;
    }

    complain(text) {
      Object.assign(this.find("complaint"), { textContent: text, hidden: !text });
    }

    /** Puts the finding, plot and data of any setting in the place of those that the figure came with. */
    stage() {
      if (this.plot) return;
      const figure = document.getElementById("fig-explorer_grid"), part = name => figure.querySelector(`.vg-${name}`);
      const [finding, plot, data] = ["finding", "plot", "data"].map(part);
      this.title = make("p", { className: "vg-finding" });
      this.plot = make("div", { className: "vg-plot vg-explorer-plot" });
      this.plot.style.cssText = plot.style.cssText; // as high as that
      this.table = make("table");
      const scroll = make("div", { className: "vg-scroll", tabIndex: 0 }, this.table);
      const its = make("details", { className: "vg-data vg-explorer-data" });
      const saving = [...data.querySelectorAll("button.vg-save")].flatMap(button => [button.cloneNode(true), " "]);
      its.append(data.querySelector("summary").cloneNode(true), ...saving, scroll);
      for (const [still, own] of [[finding, this.title], [plot, this.plot], [data, its]]) {
        still.hidden = true;
        still.after(own);
      }
    }

    show(setting) {
      const { grid } = this, result = grid.at(setting), { role, html } = verdict(setting, result);
      const scale = `${short(setting.sigma_w2)}${this.mark(setting.sigma_w2)}`;
      this.stage();
      this.find("scale").textContent = scale;
      this.fields.scale.ariaValueText = `variance ${scale}`;
      Object.assign(this.find("verdict"), { innerHTML: html }).dataset.role = role;
      this.title.textContent = this.plot.ariaLabel = this.describe(setting);
      const draw = () => window.vg.show(this.plot, plot(result, role)), live = this.plot.classList.contains("vg-is-live");
      live ? draw() : requestAnimationFrame(() => setTimeout(draw)); // Plotly has to come first, and words don't wait for it
      this.find("facts").replaceChildren(...facts(grid, result));
      this.table.replaceChildren(...tabulate(result));
      this.find("code").textContent = grid.snippet(setting);
      this.find("command").textContent = command(setting);
      this.find("tools").hidden = false;
      this.find("copied").textContent = "";
      this.paintMap(setting);
      for (const link of document.querySelectorAll(".vg-explorer-presets a")) {
        link.ariaCurrent = address(this.parse(link.search).setting) === address(setting) ? "true" : null;
      }
    }

    describe({ activation, family, sigma_w2, norm, skip, depth }) {
      const weights = `${this.text("family", family)} weights of variance ${short(sigma_w2)}${this.mark(sigma_w2)}`;
      const [phi, normal, around] = Object.entries({ activation, norm, skip }).map(pair => this.text(...pair));
      return [phi, weights, normal, around, `${depth} layers`].join(", ");
    }

    paintMap(setting) {
      const map = this.find("map"), focused = map.contains(document.activeElement);
      map.replaceChildren(drawMap(this.grid, setting, this.names));
      if (focused) map.querySelector("[tabindex='0']").focus({ preventScroll: true });
      this.find("key").hidden = false;
      this.find("key").dataset.line = String(setting.norm === "none" && setting.skip === "none");
      const { family, norm, skip, depth } = setting;
      const [weights, normal, around] = Object.entries({ family, norm, skip }).map(pair => this.text(...pair));
      this.find("mapped").textContent = `${weights} weights, ${normal}, ${around}, ${depth} layers`;
    }

    async copy() {
      const said = this.find("copied"), code = this.find("code");
      try {
        await navigator.clipboard.writeText(code.textContent);
        said.textContent = "Copied.";
      } catch { // not allowed
        code.closest("details").open = true;
        getSelection().selectAllChildren(code);
        said.textContent = "This browser doesn’t let a page copy; the code is selected.";
      }
    }
  }

  function facts(grid, { rate, ratio, theoryRate }) {
    const fact = (name, html) => make("div", {}, make("dt", { textContent: name }), make("dd", { innerHTML: html }));
    const range = ({ lo, hi }, show) => ` <small>${show(lo)} to ${show(hi)}</small>`;
    const off = 100 * Math.abs(rate.median / theoryRate - 1);
    const known = Number.isFinite(theoryRate) ? `×${factor(theoryRate)}` : "none";
    const away = Number.isFinite(off) ? ` <small>${off < 0.1 ? "less than 0.1" : off.toPrecision(2)} % away</small>` : "";
    return [
      fact("Rate per layer", `×${factor(rate.median)}${range(rate, value => factor(value))}`),
      fact("First over last layer", `${number(ratio.median, 3)}${range(ratio, value => number(value))}`),
      fact("Rate by theory", `${known}${away}`),
      fact("Measured on", `${grid.seeds.length} networks <small>of width ${grid.width}</small>`),
    ];
  }

  function tabulate({ layers, gradient, forward, theory }) {
    const columns = { "gradient, median": gradient.median, "gradient, lowest": gradient.lo, "gradient, highest": gradient.hi,
                      "forward, median": forward.median, "forward, lowest": forward.lo, "forward, highest": forward.hi,
                      ...(theory.some(Number.isFinite) ? { theory } : {}) };
    const rows = layers.map((layer, i) => make("tr", {}, header("row", layer),
      ...Object.values(columns).map(values => make("td", {}, make("data", { value: number(values[i], 3, false), innerHTML: number(values[i], 3) })))));
    const head = make("tr", {}, ...["layer", ...Object.keys(columns)].map(name => header("col", name)));
    return [make("thead", {}, head), make("tbody", {}, ...rows)];
  }

  let current = null; // the explorer of the page that is shown
  const isShown = () => current?.root.isConnected && location.pathname === current.path;

  // A link to another setting is no link to another page, and a step back to one fetches nothing. Material's instant
  // navigation doesn't look at the query and would get both wrong: hence before it, in the capturing phase.
  document.addEventListener("click", event => {
    const link = event.target.closest?.("a[href]");
    if (!link || !isShown() || link.target || event.metaKey || event.ctrlKey || event.shiftKey) return;
    if (link.origin !== location.origin || link.pathname !== current.path) return;
    if (link.hash) return void (link.search = location.search); // to a heading: the setting stays as it is by now
    event.preventDefault();
    event.stopPropagation();
    current.open(link.search);
  }, true);
  addEventListener("popstate", event => {
    if (!isShown() || location.search === current.search) return;
    event.stopImmediatePropagation();
    current.follow();
  }, true);

  window.vg.explore = root => (current?.root === root ? current : (current = new Explorer(root)));
  const waiting = document.querySelector(".vg-explorer");
  if (waiting) window.vg.explore(waiting); // vg.js has been here before this file was
})();
