// @ts-check
/* Draws the figures, shows where a number comes from, has save.js save a figure.
 * A figure arrives as <div class="vg-plot" data-plot='{"data": [...], "layout": {...}}'> and says nothing about
 * colours or fonts: those are the tokens of vg.css, so that one figure serves both themes. In it lies its poster, drawn
 * by this very script at build; hover, tap or focus puts the live figure in its place. What a trace means stands
 * in its `meta`: "vanishing", "healthy", "exploding", "theory", "reference", or {"role": one of them, "band": true}.
 */
(() => {
  "use strict";
  if (window.vg) return; // one copy, even if a page's scripts are executed again

  // Relative to this file: that holds under any sub-path, in each archived version and after instant navigation.
  const HERE = /** @type {HTMLScriptElement} */ (document.currentScript).src;
  const BUNDLE = new URL("vendor/plotly-basic.min.js", HERE);
  const SAVE = new URL("save.js", HERE);
  // Pages that alone pay for their script: what stands in such a page, and the script, which adds a function of that name.
  /** @type {Record<string, ["explore" | "train", URL]>} */
  const OWN = {
    ".vg-explorer": ["explore", new URL("explore.js", HERE)],
    ".vg-train": ["train", new URL("train/train.js", HERE)],
  };
  const TYPES = ["scatter", "bar", "pie"]; // anything else the bundle draws as a scatter, without a word
  const ROLES = ["vanishing", "healthy", "exploding", "theory", "reference"];
  const DASHES = ["solid", "9px,3px,2px,3px", "2px,3px", "11px,4px", "11px,3px,2px,3px,2px,3px", "5px,5px"];
  /** @type {Record<string, number>} */
  const FIRST_DASH = { reference: 2, theory: 5 };
  /** @type {Record<string, number>} */
  const WIDTHS = { reference: 1.25, theory: 1.5 };
  /** @type {Record<string, string[]>} */
  const SYMBOLS = { // so that colour is never the only sign
    vanishing: ["triangle-down", "triangle-down-open"], exploding: ["triangle-up", "triangle-up-open"],
    healthy: ["circle", "circle-open"], other: ["circle", "square", "diamond", "cross", "x", "star"],
  };
  const NARROW = 24; // rem; as in vg.css, where it chooses between the two posters
  const REM = 20; // px; Material's at usual widths, and that of what leaves the page
  const TOUCH = matchMedia("(hover: none)").matches;

  /** @param {any} value */
  const isObject = value => value !== null && typeof value === "object" && !Array.isArray(value);
  /** One object from several; the later ones overrule. @type {(...objects: any[]) => any} */
  const merge = (...objects) => objects.reduce((result, object) => {
    for (const [key, value] of Object.entries(object ?? {})) {
      result[key] = isObject(value) ? merge(isObject(result[key]) ? result[key] : {}, value) : value;
    }
    return result;
  }, {});
  /** @template {keyof HTMLElementTagNameMap} T
   * @param {T} tag @param {object} properties @param {(Node | string)[]} children */
  const make = (tag, properties, ...children) => {
    const element = Object.assign(document.createElement(tag), properties);
    return element.append(...children), element;
  };
  /** Scripts by their addresses: promises that they are there. @type {Record<string, Promise<void>>} */
  const loading = {};
  /** @type {Window["vg"]["load"]} */
  const load = (src, what, isThere = () => true) => (loading[src.href] ??= new Promise((resolve, reject) => {
    const fail = (/** @type {string} */ how) => {
      delete loading[src.href]; // offline, perhaps: the next touch may try again
      reject(new Error(`${what} ${how}`));
    };
    const onload = () => (isThere() ? resolve() : fail("are damaged"));
    document.body.append(make("script", { src, onload, onerror: () => fail("could not be loaded") }));
  }));
  /** @param {string} selector */
  const all = selector => /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll(selector));
  /** What an event happened in. @param {Event} event @param {string} selector @returns {HTMLElement | null} */
  const around = ({ target }, selector) => (target instanceof Element ? target.closest(selector) : null);

  // ---- Theme ---------------------------------------------------------------------------------------------------
  /** The tokens that hold inside `scope`. @returns {Theme} */
  function readTheme(scope = document.body) {
    const css = getComputedStyle(scope);
    /** @param {string} name */
    const token = name => css.getPropertyValue(`--vg-${name}`).trim();
    /** @param {string} name */
    const list = name => {
      const colors = [token(name)];
      for (let next = 2, color; (color = token(`${name}-${next}`)); next++) colors.push(color);
      return colors;
    };
    /** @type {Theme["ramps"]} */
    const ramps = { other: list("category"), scale: list("scale") };
    for (const role of ROLES) ramps[role] = list(role);
    return { token, ramps, rem: parseFloat(getComputedStyle(document.documentElement).fontSize) };
  }

  /** @param {Trace} trace @returns {string} */
  const roleOf = ({ meta }) => [meta, meta?.role].find(role => ROLES.includes(role)) ?? "other";
  /** @param {Trace} trace */
  const isBand = trace => trace.meta?.band === true;
  /** @param {string} hex */
  const shade = hex => hex + "26"; // 15 %

  /** Traces of one name are one entry of the legend, shown once: a tap hides a line with its band, in every panel.
   * @param {Trace[]} data @returns {Trace[]} */
  function sortLegend(data) {
    const shown = new Set();
    return data.map(trace => {
      const group = trace.legendgroup ?? trace.name;
      if (!group || isBand(trace)) return merge({ legendgroup: group }, trace);
      const again = shown.has(group);
      if (trace.showlegend !== false) shown.add(group);
      return merge({ legendgroup: group, ...(again && { showlegend: false }) }, trace);
    });
  }

  /** Colour, dash and symbol of each trace: one name looks the same in every panel, two names never do.
   * @param {Trace[]} data @param {Theme} theme
   * @returns {{ color: string, dash?: string, symbol?: string, k?: number }[]} */
  function chooseLooks(data, { ramps }) {
    const known = new Map();
    /** @type {Record<string, number>} */
    const count = {};
    const lines = data.map((trace, i) => {
      if (isBand(trace)) return null;
      const role = roleOf(trace), key = `${role} ${trace.legendgroup || trace.name || i}`;
      if (!known.has(key)) {
        const k = (count[role] = (count[role] ?? -1) + 1);
        /** @param {string[]} list */
        const at = list => list[k % list.length];
        const dash = DASHES[((FIRST_DASH[role] ?? 0) + k) % DASHES.length];
        known.set(key, { k, dash, color: at(ramps[role]), symbol: at(SYMBOLS[role] ?? SYMBOLS.other) });
      }
      return known.get(key);
    });
    return data.map((trace, i) => {
      const mate = data.findIndex((t, j) => lines[j] && t.legendgroup && t.legendgroup === trace.legendgroup);
      return lines[i] ?? lines[mate] ?? lines[i + 1] ?? lines[i - 1] ?? { color: ramps[roleOf(trace)][0] };
    });
  }

  /** @param {Trace[]} data @param {Theme} theme @returns {Trace[]} */
  function paintTraces(data, theme) {
    const looks = chooseLooks(data, theme), ink = theme.token("ink-2");
    return data.map((trace, i) => {
      const { color, dash, symbol, k } = looks[i], bar = trace.type === "bar";
      if (isBand(trace)) {
        return merge(trace, { fillcolor: shade(color), line: { width: 0 }, showlegend: false, hoverinfo: "skip" });
      }
      if (trace.type === "pie") return merge(trace, { marker: { colors: theme.ramps.other } });
      const measured = typeof trace.marker?.color === "object"; // a list of numbers, for a colour scale
      /** @type {Trace} */
      const fixed = { marker: measured ? {} : { color, line: { color } }, textfont: { color: ink } };
      for (const error of ["error_x", "error_y"]) {
        if (trace[error]) fixed[error] = { thickness: 1.25, width: 3, color: bar ? ink : color };
      }
      const pattern = { shape: ["", "/", ".", "x"][(k ?? 0) % 4], fgcolor: theme.token("paper"), fillmode: "overlay" };
      if (bar) return merge(trace, fixed, { marker: { pattern } });
      if (trace.fill && trace.fill !== "none") fixed.fillcolor = shade(color);
      const marker = measured ? { symbol: "circle", line: { width: 0 } } : { symbol, size: 6, line: { width: 1.5 } };
      const own = { marker, line: { dash, width: WIDTHS[roleOf(trace)] ?? 2.25 } };
      return merge(own, trace, fixed, { line: { color } });
    });
  }

  /** A figure may overrule what is called `own`; what is `fixed` is the theme's alone.
   * @param {object} layout @param {Trace[]} data @param {Theme} theme @param {number} width */
  function paintLayout(layout, data, { token, ramps, rem }, width) {
    const narrow = width < NARROW * rem, size = rem / 20; // text grows with the page's own
    const font = { family: token("sans"), size: size * (narrow ? 12 : 13), color: token("ink-2") };
    const small = { ...font, size: size * 12 }, faint = token("ink-3"), clear = "rgba(0,0,0,0)";
    const colorscale = ramps.scale.map((color, i) => [i / (ramps.scale.length - 1), color]);
    const curves = data.filter(trace => !isBand(trace)), few = curves.length > 1 && curves.length < 7;
    const together = few && !narrow && curves.every(trace => trace.mode?.includes("lines"));
    const own = {
      margin: { l: 8, r: 12, t: 14, b: 8 }, bargap: 0.25, dragmode: TOUCH ? false : "zoom",
      legend: { orientation: "h", x: 0, xref: "container", y: 0, yref: "container", yanchor: "bottom" },
      hovermode: together ? "x unified" : "closest",
    };
    const fixed = {
      font, paper_bgcolor: clear, plot_bgcolor: clear, colorway: ramps.other,
      autosize: true, height: undefined, // the page has taken the figure's own into account
      legend: { font, bgcolor: clear, tracegroupgap: 0 },
      hoverlabel: { bgcolor: token("surface"), bordercolor: token("rule"), font: small, namelength: -1 },
      modebar: { bgcolor: clear, color: faint, activecolor: token("accent") },
      coloraxis: { colorscale, colorbar: { tickfont: small, title: { font }, outlinewidth: 0 } },
    };
    const result = merge(own, layout, fixed);
    for (const name of new Set(["xaxis", "yaxis", ...Object.keys(result).filter(key => /^[xy]axis\d+$/.test(key))])) {
      const across = name.startsWith("x"), log = result[name]?.type === "log";
      result[name] = merge({
        automargin: true, exponentformat: "power", zeroline: false, ticks: "outside", ticklen: 4, fixedrange: TOUCH,
        showgrid: !across || log, showline: across, title: { standoff: 10 }, hoverformat: across ? "" : ".4~g",
      }, result[name], {
        gridcolor: token("grid"), zerolinecolor: token("rule"), linecolor: faint, tickcolor: faint, title: { font },
        tickfont: { ...font, size: font.size - (log ? 1.5 : 0) }, // powers of ten come out a quarter larger
      });
    }
    /** @param {string} key @param {object} under @param {object} over */
    const each = (key, under, over) => {
      result[key] &&= result[key].map((/** @type {object} */ item) => merge(under, item, over));
    };
    each("annotations", { showarrow: false, arrowwidth: 1 }, { font: small, arrowcolor: faint });
    each("shapes", { line: { width: 1, dash: "dot" } }, { line: { color: faint }, fillcolor: token("grid") });
    const control = { bgcolor: token("sunken"), bordercolor: token("rule"), font, tickcolor: faint };
    for (const key of ["updatemenus", "sliders"]) each(key, {}, control);
    return result;
  }

  // ---- Drawing -------------------------------------------------------------------------------------------------
  /** Plotly, once a figure is near. */
  async function loadPlotly() {
    // Plotly puts its rules into this element if it finds it. One in the head would not survive instant navigation.
    if (!(BUNDLE.href in loading)) document.body.append(make("style", { id: "plotly.js-style-global" }));
    await load(BUNDLE, BUNDLE.pathname);
    return window.Plotly;
  }

  /** @type {Window["vg"]["paint"]} */
  const paint = ({ data, layout = {}, frames }, width, theme = readTheme()) =>
    ({ data: paintTraces(sortLegend(data), theme), layout: paintLayout(layout, data, theme, width), frames });

  /** In ink on white paper, whatever the reader's palette; of a live plot, as the reader left it.
   * @type {Window["vg"]["svg"]} */
  const svg = async (element, width, height) => {
    const Plotly = await loadPlotly(), stage = stages.get(element)?.stage;
    const plot = paint(stage?.data ? stage : plotOf(element), width, { ...light(), rem: REM });
    return Plotly.toImage(plot, { format: "svg", imageDataOnly: true, width, height });
  };

  /** @type {Map<HTMLElement, { stage: any, width: number }>} */
  const stages = new Map(); // of each figure that is live or about to be: what Plotly draws in, and its width
  const resizes = new ResizeObserver(
    entries => entries.forEach(({ target }) => refit(/** @type {HTMLElement} */ (target))));
  // What has no poster is drawn when it comes near.
  const approaches = new IntersectionObserver(
    entries => entries.forEach(entry => entry.isIntersecting && draw(/** @type {HTMLElement} */ (entry.target))),
    { rootMargin: "800px 0px" });

  /** @param {HTMLElement} element */
  function plotOf(element) {
    const plot = /** @type {Plot} */ (JSON.parse(element.dataset.plot ?? ""));
    const stranger = plot.data.find(trace => !TYPES.includes(trace.type ?? "scatter"));
    if (stranger) throw new Error(`the bundle has no traces of type ${stranger.type}`);
    return plot;
  }

  /** @param {HTMLElement} element */
  async function draw(element) {
    approaches.unobserve(element);
    if (stages.has(element)) return;
    const stage = make("div", { className: "vg-live" });
    stages.set(element, { stage, width: element.clientWidth });
    try {
      const Plotly = await loadPlotly();
      if (!element.isConnected) return; // the reader has moved on
      const drawn = element.dataset.plot, plot = plotOf(element);
      if (!readTheme().token("ink")) throw new Error("the style, assets/vg.css, could not be loaded");
      const saved = element.closest("figure.vg-figure"); // whole, by the buttons below it
      element.append(stage); // over the poster, and invisible until it is whole
      await Plotly.newPlot(stage, { ...paint(plot, element.clientWidth), config: {
        displaylogo: false, showSendToCloud: false, displayModeBar: TOUCH ? false : "hover",
        modeBarButtons: [["zoom2d", "pan2d", "resetScale2d", ...(saved ? [] : ["toImage"])]],
        toImageButtonOptions: { format: "svg", filename: "figure" },
      } });
      // An image cannot hold buttons, a group can. Of the drawing itself a screen reader needs the name alone.
      Object.assign(element, { role: "group", ariaLabel: element.ariaLabel ?? "Plot" });
      stage.querySelectorAll("svg.main-svg").forEach(svg => (svg.ariaHidden = "true"));
      element.classList.add("vg-is-live");
      element.querySelectorAll(".vg-poster, .vg-undrawn").forEach(stand => stand.remove());
      resizes.observe(element);
      if (element.dataset.plot !== drawn) show(element, plotOf(element)); // asked for meanwhile
    } catch (error) {
      console.error("vg: a figure could not be drawn:", error);
      if (element.querySelector(".vg-poster")) { // it says nearly as much
        stage.remove();
        stages.delete(element);
        return;
      }
      const message = error instanceof Error ? error.message : String(error);
      element.replaceChildren(make("strong", {}, "This figure could not be drawn"), make("pre", {}, message));
      Object.assign(element, { role: "alert", className: "vg-plot vg-error" });
    }
  }

  /** Draws a plot into an element, or another one in its place: for pages whose plots depend on the reader.
   * @type {Window["vg"]["show"]} */
  async function show(element, plot) {
    element.dataset.plot = JSON.stringify(plot);
    const state = stages.get(element);
    // drawing reads the latest when it comes to it
    if (!state || !element.classList.contains("vg-is-live")) return draw(element);
    await window.Plotly.react(state.stage, paint(plot, element.clientWidth));
  }

  /** Paints again from the present state, so that a zoom or a hidden trace stays as the reader left it.
   * @param {HTMLElement} element @param {Theme} theme */
  function repaint(element, theme) {
    const stage = stages.get(element)?.stage;
    if (!stage?.data) return; // it waits for the bundle
    window.Plotly.react(stage, paint(stage, element.clientWidth, theme));
  }
  /** @param {Theme} theme */
  const repaintAll = theme => stages.forEach((_, element) => repaint(element, theme));

  /** @param {HTMLElement} element */
  function refit(element) {
    const state = stages.get(element);
    if (!state) return; // it left the page with its last change of size still to be told
    const before = state.width, now = element.clientWidth, theme = readTheme();
    if (!now || before === now) return; // inside a closed tab or box, or not resized at all
    state.width = now;
    if (before < NARROW * theme.rem !== now < NARROW * theme.rem) repaint(element, theme);
    window.Plotly.Plots.resize(state.stage);
  }

  for (const name of ["pointerover", "focusin", "click"]) {
    document.addEventListener(name, event => {
      // a finger that scrolls by; a tap is a click
      if (name === "pointerover" && /** @type {PointerEvent} */ (event).pointerType === "touch") return;
      const element = around(event, ".vg-plot[data-plot]");
      if (element) draw(element);
    });
  }

  // ---- Numbers and data ----------------------------------------------------------------------------------------
  const NUMBER = "data.vg-number[role=button]";
  /** @param {HTMLElement} number */
  function explain(number) {
    const { figure, number: name } = number.dataset, shown = `fig-${figure}`;
    // the page of all numbers, if the site has one: a copy for the file system has other addresses than a site
    const links = [...document.links].filter(link => link.host === location.host).map(link => link.href.split("#")[0]);
    const numbers = links.find(link => /\/numbers(\/|\.html)$/.test(link));
    const href = document.getElementById(shown) ? `#${shown}` : numbers && `${numbers}#${figure}`;
    const origin = href ? make("a", { href }, `${figure}.${name}`) : `${figure}.${name}`;
    const source = make("span", {}, "measured by ", origin);
    const box = make("span", { className: "vg-popover", popover: "auto", role: "dialog", ariaLabel: "Measured value" },
      make("output", {}, number.getAttribute("value") ?? ""), source);
    number.after(box); // right behind the number, so that Tab leads from one into the other
    // Told after the click that closes the box has come through: that click opens no other.
    box.addEventListener("toggle", event => {
      if (/** @type {ToggleEvent} */ (event).newState === "open") return;
      number.ariaExpanded = "false";
      box.remove();
    });
    box.showPopover();
    number.ariaExpanded = "true";
    const at = number.getBoundingClientRect(), { offsetWidth: width, offsetHeight: height, style } = box;
    const below = at.bottom + height + 8 < innerHeight;
    style.left = `${scrollX + Math.max(8, Math.min(at.left, document.body.clientWidth - width - 8))}px`;
    style.top = `${scrollY + (below ? at.bottom + 6 : at.top - height - 6)}px`;
  }

  /** @param {HTMLButtonElement} button */
  async function save(button) {
    const place = /** @type {HTMLElement} */ (button.parentElement);
    if (place.ariaBusy) return;
    place.ariaBusy = "true";
    place.querySelector(".vg-error")?.remove();
    try {
      await load(SAVE, SAVE.pathname);
      await window.vg.save?.(/** @type {HTMLElement} */ (button.closest("figure.vg-figure")), button.value);
    } catch (error) {
      console.error("vg: a figure could not be saved:", error);
      const message = `This could not be saved: ${error instanceof Error ? error.message : error}`;
      place.querySelector(".vg-save:last-of-type")?.after(make("p", { className: "vg-error", role: "alert" }, message));
    }
    place.ariaBusy = null;
  }

  document.addEventListener("click", event => {
    const number = around(event, NUMBER);
    if (number?.ariaExpanded === "false") explain(number); // the browser closes what was open
    const button = /** @type {HTMLButtonElement | null} */ (around(event, "button.vg-save"));
    if (button) save(button);
  });
  document.addEventListener("keydown", event => {
    const number = ["Enter", " "].includes(event.key) && around(event, NUMBER);
    if (!number) return;
    event.preventDefault(); // the space bar would scroll
    number.click();
  });

  // ---- Pages come and go ---------------------------------------------------------------------------------------
  /** What scrolls in its own box takes the focus, so that the arrow keys scroll it. */
  const boxes = new ResizeObserver(entries => {
    for (const { target: box } of entries) {
      if (box.scrollWidth > box.clientWidth) box.setAttribute("tabindex", "0");
      else box.removeAttribute("tabindex");
    }
  });
  const BOXES = ["pre > code", ".md-typeset__scrollwrap", "table:not([class])", "div.arithmatex", ".vg-output > pre"];

  /** What Material leaves out for screen readers. */
  function name() {
    // buttons on code, each in a navigation of its own
    for (const buttons of all(".md-code__nav")) buttons.role = "none";
    // the button of the versions, whose name leaves out what it reads
    const version = document.querySelector(".md-version__current"), read = version?.textContent.trim();
    const label = version?.ariaLabel;
    if (label && read && !label.includes(read)) version.ariaLabel = `${read}: ${label}`;
    // a section with a page of its own is labelled by an icon
    for (const label of all(".md-nav__container > label")) {
      const section = document.querySelector(`nav[aria-labelledby=${label.id}]`), link = label.previousElementSibling;
      if (!section || !link) continue; // named before
      section.ariaLabel = link.textContent.trim();
      section.removeAttribute("aria-labelledby");
    }
  }

  // the versions arrive when they are loaded, after the page
  const header = document.querySelector(".md-header");
  if (header) new MutationObserver(name).observe(header, { childList: true, subtree: true });

  /** Takes in what is new on the page and lets go of what has left it; once more changes nothing. */
  function mount() {
    for (const element of stages.keys()) if (!element.isConnected) stages.delete(element);
    for (const element of all(".vg-plot[data-plot]")) {
      element.tabIndex = 0; // the keyboard's way to a live figure
      if (!element.querySelector(".vg-poster")) approaches.observe(element);
    }
    for (const button of all("button.vg-save")) button.hidden = false;
    for (const place of all(":is(dt[id], .vg-figure[id] > .vg-finding):not(:has(.headerlink))")) {
      const href = `#${place.closest("[id]")?.id}`;
      // headings get theirs at build; terms, statements and findings here
      place.append(" ", make("a", { className: "headerlink", href, title: "Permanent link", textContent: "¶" }));
    }
    for (const box of all(BOXES.map(box => `.md-content ${box}`).join())) boxes.observe(box);
    // paper shows their addresses; Material writes all addresses out, so that style alone can't tell them
    for (const link of all(".md-content a")) {
      link.classList.toggle("vg-elsewhere", /** @type {HTMLAnchorElement} */ (link).host !== location.host);
    }
    name();
    for (const [selector, [own, src]] of Object.entries(OWN)) {
      const section = document.querySelector(selector), show = window.vg[own];
      if (section && show) show(section);
      else if (section && !document.querySelector(`script[src="${src}"]`)) document.body.append(make("script", { src }));
    }
    if (!("popover" in HTMLElement.prototype)) return; // the number's title has to do
    for (const number of all("data.vg-number")) {
      if (number.closest("a, summary, button, label")) continue; // a control cannot hold another
      Object.assign(number, { role: "button", tabIndex: 0, ariaHasPopup: "dialog", ariaExpanded: "false" });
    }
  }

  // Material's toggle sets an attribute of the body, and so does a change of the system's theme.
  const scheme = new MutationObserver(() => repaintAll(readTheme()));
  scheme.observe(document.body, { attributeFilter: ["data-md-color-scheme"] });

  // Paper is white whatever the screen is; an element of the light scheme lends its tokens.
  const paper = document.body.appendChild(make("div", { hidden: true }));
  paper.dataset.mdColorScheme = "default";
  const light = () => readTheme(paper);
  addEventListener("beforeprint", () => repaintAll(light()));
  addEventListener("afterprint", () => repaintAll(readTheme()));

  window.vg = { make: /** @type {any} */ (make), light, load, mount, paint, show, svg }; // Material announces every page, the first one too; without it there is only this one
  if (window.document$) window.document$.subscribe(mount);
  else mount();
})();
