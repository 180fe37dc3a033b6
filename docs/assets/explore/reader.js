/* Reads docs/assets/explore/grid.js: the mirror of Grid in src/vgdocs/explore_grid.py, which says what is kept and how.
   Everything it hands out is a decimal logarithm but for rates: ratios reach 1e-200 and norms 1e+200. */

function vgOpenGrid(data) {
  const { axes, knots, steps, alphabet } = data;
  const middle = (alphabet.length - 1) / 2;
  const place = new Int16Array(128).fill(-1);
  for (let i = 0; i < alphabet.length; i++) place[alphabet.charCodeAt(i)] = i;

  const canonical = (s) => {
    if (s.skip === "prenorm" && s.norm === "none") return { ...s, skip: "residual" };
    if (s.skip === "none" && (s.norm !== "none" || data.homogeneous.includes(s.activation))) return { ...s, sigma_w2: 1 };
    return s;
  };
  // What each layer has more than the canonical setting's: sigma_w, or nothing.
  const power = (s) =>
    s.skip === "none" && s.norm === "none" && data.homogeneous.includes(s.activation) ? Math.log10(s.sigma_w2) / 2 : 0;
  const key = (s) => [s.activation, s.norm, s.skip, axes.sigma_w2.indexOf(s.sigma_w2), s.depth, s.family].join();

  // A stream of numbers, each written as its distance from what the reader expects.
  const open = (text) => {
    let at = 0;
    const token = () => {
      if (text[at] !== "{") return place[text.charCodeAt(at++)] - middle;
      const end = text.indexOf("}", at);
      const word = text.slice(at + 1, end);
      at = end + 1;
      return word === "nan" ? NaN : word === "inf" ? Infinity : word === "-inf" ? -Infinity : Number(word);
    };
    const read = (expected) => token() + expected;
    read.wide = (expected) => {
      const high = token();
      if (!Number.isFinite(high)) return high;
      const low = place[text.charCodeAt(at)] * alphabet.length + place[text.charCodeAt(at + 1)];
      at += 2;
      const size = alphabet.length ** 2;
      return high * size + low - Math.floor(size / 2) + expected;
    };
    return read;
  };
  const code = Object.fromEntries(Object.entries(data.streams).map(([name, text]) => [name, open(text)]));
  const finite = (value, otherwise) => (Number.isFinite(value) ? value : otherwise);

  const record = (depth, previous) => {
    const layers = knots[depth];
    const theoryRate = code.theory_rate(previous);
    const rate = code.rate(finite(theoryRate, 0));
    const rates = [rate, code.rate_spread(finite(rate, 0)), code.rate_spread(finite(rate, 0))];

    const gradient = [];
    const theory = [];
    let [expected, below, above, off, after] = [196, 0, 0, 0, depth];
    for (const layer of [...layers].reverse()) {
      expected += Math.floor((finite(rate, 0) * (after - layer) * 2 + 50) / 100);
      const median = code.gradient(expected);
      [expected, after] = [finite(median, expected), layer];
      const [lo, hi] = [code.gradient_lo(expected - below), code.gradient_hi(expected + above)];
      [below, above] = [expected - finite(lo, expected), finite(hi, expected) - expected];
      gradient.unshift([median, lo, hi]);
      theory.unshift(code.theory(expected + off));
      off = finite(theory[0], expected) - expected;
    }

    const forward = [];
    let [level, rise, run, before] = [0, 0, 1, 0];
    [below, above] = [0, 0];
    for (const layer of layers) {
      expected = level + Math.floor((2 * rise * (layer - before) + run) / (2 * run));
      const median = code.forward(expected);
      [rise, run] = [finite(median, expected) - level, layer - before];
      [level, before] = [finite(median, expected), layer];
      const [lo, hi] = [code.forward_lo(level - below), code.forward_hi(level + above)];
      [below, above] = [level - finite(lo, level), finite(hi, level) - level];
      forward.push([median, lo, hi]);
    }

    const fall = finite(gradient[0][0], 0) - finite(gradient[layers.length - 1][0], 0);
    const ratio = code.ratio(fall * 5);
    const fifth = Math.floor(finite(ratio, 0) / 5);
    const ratios = [ratio, code.ratio_spread(fifth), code.ratio_spread(fifth)];
    const first = [code.first.wide(finite(rate, 0) * 250), code.first.wide(finite(ratio, 0) * 2500)];
    return { theoryRate, rates, ratios, first, theory, gradient, forward };
  };

  const records = new Map();
  let previous = 0;
  for (const activation of axes.activation)
    for (const norm of axes.norm)
      for (const skip of axes.skip)
        for (const sigma_w2 of axes.sigma_w2)
          for (const depth of axes.depth)
            for (const family of axes.family) {
              const s = { activation, norm, skip, sigma_w2, depth, family };
              if (key(canonical(s)) !== key(s)) continue;
              const r = record(depth, previous);
              previous = finite(r.theoryRate, 0);
              records.set(key(s), r);
            }

  const named = (setting) => {
    for (const axis of ["activation", "family", "norm", "skip", "depth"])
      if (!axes[axis].includes(setting[axis]))
        throw new RangeError(`unknown ${axis} ${setting[axis]}; known: ${axes[axis].join(", ")}`);
    const sigma_w2 = axes.sigma_w2.find((value) => Math.abs(setting.sigma_w2 / value - 1) < 1e-9);
    if (sigma_w2 === undefined)
      throw new RangeError(`sigma_w² ${setting.sigma_w2} is not on the axis: ${axes.sigma_w2.join(", ")}`);
    return { ...setting, sigma_w2 };
  };

  const at = (setting) => {
    const s = named(setting);
    const r = records.get(key(canonical(s)));
    const [p, layers] = [power(s), knots[s.depth]];
    const bands = (rows, shift) => {
      const column = (i) => rows.map((row, k) => row[i] * steps.profile + shift(layers[k]));
      return { median: column(0), lo: column(1), hi: column(2) };
    };
    const back = (layer) => p * (s.depth - layer);
    const rate = (value) => 10 ** (value * steps.rate + p);
    return {
      layers,
      gradient: bands(r.gradient, back),
      forward: bands(r.forward, (layer) => p * layer),
      theory: r.theory.map((value, k) => value * steps.profile + back(layers[k])),
      rate: { median: rate(r.rates[0]), lo: rate(r.rates[1]), hi: rate(r.rates[2]) },
      theoryRate: rate(r.theoryRate),
      ratio: {
        median: r.ratios[0] * steps.ratio + back(1),
        lo: r.ratios[1] * steps.profile + back(1),
        hi: r.ratios[2] * steps.profile + back(1),
      },
      first: { rate: 10 ** (r.first[0] * steps.first + p), log10ratio: r.first[1] * steps.first + back(1) },
      gradientOf: s.skip === "none" ? "z" : "h",
    };
  };

  const rates = ({ norm, skip, family, depth }) =>
    axes.activation.map((activation) =>
      axes.sigma_w2.map((sigma_w2) => at({ activation, sigma_w2, norm, skip, family, depth }).rate.median)
    );

  const snippet = (setting, seed = data.seeds[0]) => {
    const s = named(setting);
    const { script, fillings } = data.snippet;
    const texts = Object.fromEntries(Object.entries(fillings).map(([name, pieces]) => [name, pieces[s[name]]]));
    Object.assign(texts, { width: data.width, batch: data.batch, depth: s.depth, sigma_w2: s.sigma_w2, seed });
    return script.replace(/\{\{(\w+)\}\}/g, (_, name) => String(texts[name]));
  };

  return { ...data, at, rates, snippet };
}
