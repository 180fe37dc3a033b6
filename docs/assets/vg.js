/* Draws the figures, shows where a number comes from, saves a figure's data.
 * A figure arrives as <div class="vg-plot" data-plot='{"data": [...], "layout": {...}}'> and says nothing about
 * colours or fonts: those are the tokens of vg.css, so that one figure serves both themes. What a trace means stands
 * in its `meta`: "vanishing", "healthy", "exploding", "theory", "reference", or {"role": one of them, "band": true}.
 */
(() => {
  "use strict";
  if (window.vg) return; // one copy, even if a page's scripts are executed again

  // Relative to this file: that holds under any sub-path, in each archived version and after instant navigation.
  const BUNDLE = new URL("vendor/plotly-basic.min.js", document.currentScript.src);
  const NUMBERS = new URL("../about/numbers/", document.currentScript.src); // the page of all numbers
  const TYPES = ["scatter", "bar", "pie"]; // anything else the bundle draws as a scatter, without a word
  const ROLES = ["vanishing", "healthy", "exploding", "theory", "reference"];
  const DASHES = ["solid", "9px,3px,2px,3px", "2px,3px", "11px,4px", "11px,3px,2px,3px,2px,3px", "5px,5px"];
  const FIRST_DASH = { reference: 2, theory: 5 }, WIDTHS = { reference: 1.25, theory: 1.5 };
  const SYMBOLS = { // so that colour is never the only sign
    vanishing: ["triangle-down", "triangle-down-open"], exploding: ["triangle-up", "triangle-up-open"],
    healthy: ["circle", "circle-open"], other: ["circle", "square", "diamond", "cross", "x", "star"],
  };
  const NARROW = 480, TOUCH = matchMedia("(hover: none)").matches; // px; phones

  const isObject = value => value !== null && typeof value === "object" && !Array.isArray(value);
  /** One object from several; the later ones overrule. */
  const merge = (...objects) => objects.reduce((result, object) => {
    for (const [key, value] of Object.entries(object ?? {})) {
      result[key] = isObject(value) ? merge(isObject(result[key]) ? result[key] : {}, value) : value;
    }
    return result;
  }, {});
  const make = (tag, properties, ...children) => {
    const element = Object.assign(document.createElement(tag), properties);
    return element.append(...children), element;
  };

  // ---- Theme ---------------------------------------------------------------------------------------------------
  /** The tokens that hold inside `scope`. */
  function readTheme(scope = document.body) {
    const css = getComputedStyle(scope), token = name => css.getPropertyValue(`--vg-${name}`).trim();
    const list = name => token(name).split(/\s+/), ramps = { other: list("categories"), scale: list("scale") };
    for (const role of ROLES) ramps[role] = list(`${role}-ramp`);
    return { token, ramps };
  }

  const roleOf = ({ meta }) => [meta, meta?.role].find(role => ROLES.includes(role)) ?? "other";
  const isBand = trace => trace.meta?.band === true, shade = hex => hex + "26"; // 15 %

  /** Colour, dash and symbol of each trace: one name looks the same in every panel, two names never do. */
  function chooseLooks(data, { ramps }) {
    const known = new Map(), count = {};
    const lines = data.map((trace, i) => {
      if (isBand(trace)) return null;
      const role = roleOf(trace), key = `${role} ${trace.legendgroup || trace.name || i}`;
      if (!known.has(key)) {
        const k = (count[role] = (count[role] ?? -1) + 1), at = list => list[k % list.length];
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

  function paintTraces(data, theme) {
    const looks = chooseLooks(data, theme), ink = theme.token("ink-2");
    return data.map((trace, i) => {
      const { color, dash, symbol, k } = looks[i], bar = trace.type === "bar";
      if (isBand(trace)) {
        return merge(trace, { fillcolor: shade(color), line: { width: 0 }, showlegend: false, hoverinfo: "skip" });
      }
      if (trace.type === "pie") return merge(trace, { marker: { colors: theme.ramps.other } });
      const measured = typeof trace.marker?.color === "object"; // a list of numbers, for a colour scale
      const fixed = { marker: measured ? {} : { color, line: { color } }, textfont: { color: ink } };
      for (const error of ["error_x", "error_y"]) {
        if (trace[error]) fixed[error] = { thickness: 1.25, width: 3, color: bar ? ink : color };
      }
      const pattern = { shape: ["", "/", ".", "x"][k % 4], fgcolor: theme.token("paper"), fillmode: "overlay" };
      if (bar) return merge(trace, fixed, { marker: { pattern } });
      if (trace.fill && trace.fill !== "none") fixed.fillcolor = shade(color);
      const marker = measured ? { symbol: "circle", line: { width: 0 } } : { symbol, size: 6, line: { width: 1.5 } };
      const own = { marker, line: { dash, width: WIDTHS[roleOf(trace)] ?? 2.25 } };
      return merge(own, trace, fixed, { line: { color } });
    });
  }

  /** A figure may overrule what is called `own`; what is `fixed` is the theme's alone. */
  function paintLayout(layout, data, { token, ramps }, width) {
    const font = { family: token("sans"), size: width < NARROW ? 12 : 13, color: token("ink-2") };
    const small = { ...font, size: 12 }, faint = token("ink-3"), clear = "rgba(0,0,0,0)";
    const colorscale = ramps.scale.map((color, i) => [i / (ramps.scale.length - 1), color]);
    const curves = data.filter(trace => !isBand(trace)), few = curves.length > 1 && curves.length < 7;
    const together = few && width >= NARROW && curves.every(trace => trace.mode?.includes("lines"));
    const own = {
      margin: { l: 8, r: 12, t: 14, b: 8 }, bargap: 0.25, dragmode: TOUCH ? false : "zoom",
      legend: { orientation: "h", x: 0, xref: "container", y: 0, yref: "container", yanchor: "bottom" },
      hovermode: together ? "x unified" : "closest",
    };
    const fixed = {
      font, paper_bgcolor: clear, plot_bgcolor: clear, colorway: ramps.other, autosize: true,
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
    const each = (key, under, over) => (result[key] &&= result[key].map(item => merge(under, item, over)));
    each("annotations", { showarrow: false, arrowwidth: 1 }, { font: small, arrowcolor: faint });
    each("shapes", { line: { width: 1, dash: "dot" } }, { line: { color: faint }, fillcolor: token("grid") });
    const control = { bgcolor: token("sunken"), bordercolor: token("rule"), font, tickcolor: faint };
    for (const key of ["updatemenus", "sliders"]) each(key, {}, control);
    return result;
  }

  // ---- Drawing -------------------------------------------------------------------------------------------------
  let bundle = null; // promise of Plotly, once a figure is near
  const loadPlotly = () => (bundle ??= new Promise((resolve, reject) => {
    const script = make("script", { src: BUNDLE, onload: () => resolve(window.Plotly) });
    // Offline, perhaps: the next figure may try again.
    script.onerror = () => reject(new Error(`${BUNDLE.pathname} could not be loaded`), (bundle = null));
    // Plotly puts its rules into this element if it finds it. One in the head would not survive instant navigation.
    document.body.append(make("style", { id: "plotly.js-style-global" }), script);
  }));

  const widths = new Map(); // of each figure that is drawn or about to be
  const resizes = new ResizeObserver(entries => entries.forEach(entry => refit(entry.target)));
  const approaches = new IntersectionObserver(
    entries => entries.forEach(entry => entry.isIntersecting && draw(entry.target)), { rootMargin: "800px 0px" });

  async function draw(element) {
    approaches.unobserve(element);
    if (widths.has(element)) return;
    widths.set(element, element.clientWidth);
    try {
      const { data, layout = {}, frames } = JSON.parse(element.dataset.plot);
      const stranger = data.find(trace => !TYPES.includes(trace.type ?? "scatter"));
      if (stranger) throw new Error(`the bundle has no traces of type ${stranger.type}`);
      const Plotly = await loadPlotly(), theme = readTheme();
      if (!element.isConnected) return; // the reader has moved on
      const painted = paintLayout(layout, data, theme, element.clientWidth);
      await Plotly.newPlot(element, { data: paintTraces(data, theme), layout: painted, frames, config: {
        displaylogo: false, showSendToCloud: false, displayModeBar: TOUCH ? false : "hover",
        modeBarButtons: [["zoom2d", "pan2d", "resetScale2d", "toImage"]],
        toImageButtonOptions: { format: "svg", filename: element.closest("[data-figure]")?.dataset.figure ?? "figure" },
      } });
      // An image cannot hold buttons, a group can. Of the drawing itself a screen reader needs the name alone.
      Object.assign(element, { role: "group", ariaLabel: element.ariaLabel ?? "Plot" });
      element.querySelectorAll("svg.main-svg").forEach(svg => (svg.ariaHidden = "true"));
      resizes.observe(element);
    } catch (error) {
      console.error("vg: a figure could not be drawn:", error);
      element.replaceChildren(make("strong", {}, "This figure could not be drawn"), make("pre", {}, error.message));
      Object.assign(element, { role: "alert", className: "vg-plot vg-error" });
    }
  }

  /** Paints again from the present state, so that a zoom or a hidden trace stays as the reader left it. */
  function repaint(element, theme) {
    if (!element.data) return; // waits for the bundle, or failed
    const layout = paintLayout(element.layout, element.data, theme, element.clientWidth);
    window.Plotly.react(element, paintTraces(element.data, theme), layout);
  }
  const repaintAll = theme => widths.forEach((_, element) => repaint(element, theme));

  function refit(element) {
    const before = widths.get(element), now = element.clientWidth;
    if (!now || before === now) return; // inside a closed tab or box, or not resized at all
    widths.set(element, now);
    if (before < NARROW !== now < NARROW) repaint(element, readTheme());
    window.Plotly.Plots.resize(element);
  }

  // ---- Numbers and data ----------------------------------------------------------------------------------------
  const NUMBER = "data.vg-number[role=button]";
  function explain(number) {
    const { figure, number: name } = number.dataset, shown = `fig-${figure}`;
    const href = document.getElementById(shown) ? `#${shown}` : `${NUMBERS}#${figure}`;
    const source = make("span", {}, "measured by ", make("a", { href }, `${figure}.${name}`));
    const box = make("span", { className: "vg-popover", popover: "auto", role: "dialog", ariaLabel: "Measured value" },
      make("output", {}, number.getAttribute("value")), source);
    number.after(box); // right behind the number, so that Tab leads from one into the other
    box.addEventListener("toggle", ({ newState }) => {
      number.ariaExpanded = String(newState === "open");
      if (newState === "closed") box.remove();
    });
    box.showPopover();
    const at = number.getBoundingClientRect(), { offsetWidth: width, offsetHeight: height, style } = box;
    const below = at.bottom + height + 8 < innerHeight;
    style.left = `${scrollX + Math.max(8, Math.min(at.left, document.body.clientWidth - width - 8))}px`;
    style.top = `${scrollY + (below ? at.bottom + 6 : at.top - height - 6)}px`;
  }

  function saveCsv(figure) {
    const text = cell => cell.querySelector("data[value]")?.getAttribute("value") ?? cell.textContent.trim();
    const quote = value => (/[",\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value);
    const rows = [...figure.querySelector(".vg-data table").rows];
    const csv = rows.map(row => [...row.cells].map(cell => quote(text(cell))).join(",") + "\r\n");
    const href = URL.createObjectURL(new Blob(csv, { type: "text/csv" }));
    make("a", { href, download: `${figure.dataset.figure}.csv` }).click();
    setTimeout(() => URL.revokeObjectURL(href), 1000);
  }

  document.addEventListener("click", ({ target }) => {
    const number = target.closest(NUMBER);
    if (number?.ariaExpanded === "false") explain(number); // the browser closes what was open
    if (target.closest("button.vg-csv")) saveCsv(target.closest("figure.vg-figure"));
  });
  document.addEventListener("keydown", event => {
    if (!["Enter", " "].includes(event.key) || !event.target.closest?.(NUMBER)) return;
    event.preventDefault(); // the space bar would scroll
    event.target.click();
  });

  // ---- Pages come and go ---------------------------------------------------------------------------------------
  /** Takes in what is new on the page and lets go of what has left it; once more changes nothing. */
  function mount() {
    for (const element of widths.keys()) element.isConnected || widths.delete(element);
    for (const element of document.querySelectorAll(".vg-plot[data-plot]")) approaches.observe(element);
    for (const button of document.querySelectorAll("button.vg-csv")) button.hidden = false;
    for (const term of document.querySelectorAll("dt[id]:not(:has(.headerlink))")) {
      const link = { className: "headerlink", href: `#${term.id}`, title: "Permanent link", textContent: "¶" };
      term.append(" ", make("a", link)); // headings get theirs at build, terms and statements here
    }
    if (!("popover" in HTMLElement.prototype)) return; // the number's title has to do
    for (const number of document.querySelectorAll("data.vg-number")) {
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
  addEventListener("beforeprint", () => repaintAll(readTheme(paper)));
  addEventListener("afterprint", () => repaintAll(readTheme()));

  window.vg = { mount }; // Material announces every page, the first one too; without it there is only this one
  window.document$ ? window.document$.subscribe(mount) : mount();
})();
