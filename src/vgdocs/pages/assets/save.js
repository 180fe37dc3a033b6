// @ts-check
/* Saves a figure: its data as CSV or JSON, or as PNG or SVG the whole of it, to be shown elsewhere. That is the finding,
 * the plot, the caption, the figure's name, the site's, and the address to look it up at. A picture is in ink on white
 * and of one width, whatever the reader's palette and window: it goes onto slides and paper. Loaded when first asked for.
 */
(() => {
  "use strict";
  const SITE = new URL("..", /** @type {HTMLScriptElement} */ (document.currentScript).src).href;
  const WIDTH = 648, HEIGHT = 420; // px of a plot, as of its wide poster; a figure may ask for another height
  const MARGIN = 32, SCALE = 3; // px; pixels of a PNG for each px, which makes it as wide as a screen
  const SUPERSCRIPTS = "⁰¹²³⁴⁵⁶⁷⁸⁹", POWER = /\^(\d+(?![\w.])|\([-−]?\d+\))/g;
  const NS = "http://www.w3.org/2000/svg";
  const { light, make, svg } = window.vg;

  /** What stands under a class in a figure now; a page may have put its own in the place of what was there.
   * @param {HTMLElement} figure @param {string} name @returns {HTMLElement} */
  const part = (figure, name) => /** @type {any} */ (figure.querySelector(`.vg-${name}:not([hidden])`));
  /** @param {HTMLElement} figure @returns {Plot} */
  const plotOf = figure => JSON.parse(part(figure, "plot").dataset.plot ?? "");

  /** @param {HTMLElement} figure */
  function csvOf(figure) {
    /** @param {HTMLTableCellElement} cell */
    const text = cell => cell.querySelector("data[value]")?.getAttribute("value") ?? cell.textContent.trim();
    /** @param {string} value */
    const quote = value => (/[",\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value);
    const rows = [.../** @type {HTMLTableElement} */ (part(figure, "data").querySelector("table")).rows];
    return rows.map(row => [...row.cells].map(cell => quote(text(cell))).join(",") + "\r\n").join("");
  }

  /** All that is drawn, bands and theory too, as Plotly takes it. @param {HTMLElement} figure */
  const jsonOf = figure =>
    JSON.stringify({ figure: figure.dataset.figure, finding: part(figure, "plot").ariaLabel, ...plotOf(figure) });

  /** A line of plain text: each formula as the search knows it, each power of ten in one piece. @param {Element} element */
  function textOf(element) {
    const copy = /** @type {Element} */ (element.cloneNode(true));
    for (const twice of copy.querySelectorAll("bdi[data-search-exclude], .vg-popover, .headerlink, sup:has(a)")) twice.remove();
    for (const sup of copy.querySelectorAll("sup")) sup.replaceWith(`^(${sup.textContent})`);
    for (const number of copy.querySelectorAll("data")) number.textContent = number.textContent.replaceAll(" ", "\u00a0");
    /** @param {string} power */
    const raised = power => [...power].map(sign => SUPERSCRIPTS[+sign] ?? (/[-−]/.test(sign) ? "⁻" : "")).join("");
    return copy.textContent.replace(POWER, raised).replace(/[ \n]+/g, " ").trim();
  }

  /** Where the figure stands in the version that is read, which `latest` won't name for ever; in a copy that is at no
   * address, where it stands in the copy. @param {HTMLElement} figure */
  function addressOf(figure) {
    const query = new URLSearchParams(location.search);
    query.delete("h"); // the words that the search marks
    const link = /** @type {HTMLLinkElement | null} */ (document.querySelector("link[rel=canonical]"));
    const here = location.href.slice(SITE.length).split(/[?#]/)[0], canonical = link?.href ?? "";
    const page = canonical.endsWith("/") ? here.replace(/index\.html$/, "") : here;
    let site = location.protocol === "file:" ? "" : SITE;
    if (link && canonical.endsWith(page)) site = canonical.slice(0, canonical.length - page.length);
    // Material's list of versions, if there is one
    const version = document.querySelector(".md-version__current")?.textContent.trim();
    const versions = /** @type {NodeListOf<HTMLAnchorElement>} */ (document.querySelectorAll(".md-version__link"));
    const read = [...versions].find(({ textContent }) => textContent.trim() === version)?.pathname.split("/").at(-2);
    if (read) site = site.replace(/[^/]+\/$/, `${read}/`);
    return decodeURI(`${site}${page}${String(query) && `?${query}`}#${figure.id}`);
  }

  /** Words in lines no wider than `width`; a word that is wider by itself is broken.
   * @param {string} text @param {string} font @param {number} width */
  function wrap(text, font, width) {
    const pen = /** @type {CanvasRenderingContext2D} */ (make("canvas").getContext("2d"));
    pen.font = font;
    /** @param {string} line */
    const fits = line => pen.measureText(line).width <= width;
    const lines = [""];
    for (let word of text.split(" ")) {
      const last = lines[lines.length - 1], longer = last && `${last} ${word}`;
      if (longer && fits(longer)) lines[lines.length - 1] = longer;
      else {
        for (let end; !fits(word); word = word.slice(end)) {
          for (end = word.length - 1; end > 1 && !fits(word.slice(0, end)); end--);
          lines.push(word.slice(0, end));
        }
        lines.push(word);
      }
    }
    return lines.filter(Boolean);
  }

  /** The whole figure as an SVG that needs nothing else. @param {HTMLElement} figure */
  async function pictureOf(figure) {
    const { token } = light(), family = token("sans"), plot = part(figure, "plot"), width = WIDTH + 2 * MARGIN;
    /** @param {string} tag @param {Record<string, string | number>} attributes @param {(Node | string)[]} children */
    const element = (tag, attributes, ...children) => {
      const made = document.createElementNS(NS, tag);
      for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, String(value));
      return made.append(...children), made;
    };
    const picture = element("svg", { width, "font-family": family });
    let y = MARGIN;
    /** @param {string} text @param {number} size @param {string} ink @param {number} weight */
    const write = (text, size, ink, weight = 400) => {
      const font = `${weight} ${size}px ${family}`, count = wrap(text, font, WIDTH).length;
      let room = WIDTH;
      if (weight > 400) while (wrap(text, font, room - 8).length === count) room -= 8; // balanced, as in the page
      const lines = wrap(text, font, room);
      // a space between the lines, so that who copies or searches the text finds its words
      const spans = lines.map(line => element("tspan", { x: MARGIN, y: (y += 1.4 * size) - 0.4 * size }, `${line} `));
      picture.append(element("text", { "font-size": size, "font-weight": weight, fill: token(ink) }, ...spans));
    };
    write(textOf(part(figure, "finding")), 20, "ink", 600);
    const rem = parseFloat(plot.style.getPropertyValue("--vg-height")), height = rem * 20 || HEIGHT;
    const drawn = new DOMParser().parseFromString(await svg(plot, WIDTH, height), "image/svg+xml").documentElement;
    picture.append(element("g", { transform: `translate(${MARGIN},${y + 4})` }, ...drawn.children));
    y += height + 16;
    for (const paragraph of figure.querySelectorAll("figcaption > *")) {
      write(textOf(paragraph), 14, "ink-2");
      y += 6;
    }
    y += 6;
    const site = document.querySelector(".md-header__topic .md-ellipsis")?.textContent.trim() ?? document.title;
    write(`Figure ${figure.dataset.figure} · ${site}`, 11, "ink-3");
    write(addressOf(figure), 11, "ink-3");
    const whole = Math.ceil(y + MARGIN - 4);
    picture.setAttribute("height", String(whole));
    picture.setAttribute("viewBox", `0 0 ${width} ${whole}`);
    picture.prepend(element("rect", { width, height: whole, fill: "#fff" }));
    return { text: new XMLSerializer().serializeToString(picture), width, height: whole };
  }

  /** @param {{ text: string, width: number, height: number }} picture @returns {Promise<Blob>} */
  const pngOf = ({ text, width, height }) => new Promise((resolve, reject) => {
    const canvas = make("canvas", { width: width * SCALE, height: height * SCALE }), image = new Image();
    image.onload = () => {
      canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
      canvas.toBlob((/** @type {Blob | null} */ blob) => (blob ? resolve(blob) : image.onerror?.("")));
    };
    image.onerror = () => reject(new Error("the browser makes no PNG of it; an SVG may do"));
    image.src = `data:image/svg+xml,${encodeURIComponent(text)}`;
  });

  /** @type {Record<string, (figure: HTMLElement) => Blob | Promise<Blob>>} */
  const FORMATS = {
    csv: figure => new Blob([csvOf(figure)], { type: "text/csv" }),
    json: figure => new Blob([jsonOf(figure)], { type: "application/json" }),
    svg: async figure => new Blob([(await pictureOf(figure)).text], { type: "image/svg+xml" }),
    png: async figure => pngOf(await pictureOf(figure)),
  };

  window.vg.save = async (figure, format) => {
    const href = URL.createObjectURL(await FORMATS[format](figure));
    make("a", { href, download: `${figure.dataset.figure}.${format}` }).click();
    setTimeout(() => URL.revokeObjectURL(href), 1000);
  };
})();
