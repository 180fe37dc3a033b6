// @ts-check
/* Trains the networks of docs/train.md in float64 with PyTorch's numbers: networks, draws and updates are those of the
 * script that `vgTrain.script` makes of settings.js, which vgdocs.explorer.train has written. Runs in a page, in a
 * worker and where there is no page. `create` needs this file, and for digits digits.js; all else needs settings.js.
 *
 * Matrices are flat, row by row; x, h and z have a row an example. Backward is by hand: a part turns the gradient of
 * what it gave into that of what it was given, and leaves its parameters' gradients in their `g`.
 */
(() => {
  "use strict";
  const vgTrain = ((/** @type {any} */ (globalThis)).vgTrain ??= {});
  const SYMBOLS = 4, POINTS = 400, NOISE = 0.05;
  const FLAT = 0.05; // saturated: where the slope is below this share of the largest one, as in vgdocs.probe

  /** @typedef {Float64Array} Matrix */
  /** @typedef {{ uniform: () => number, normal: () => number }} Random */
  /** @typedef {{ w: Matrix, g: Matrix, m: Matrix, v: Matrix }} Parameter with gradient and optimiser's averages */
  /** @typedef {Record<string, any>} Setting */
  /** @typedef {{ pixels: string, labels: string }} Digits */

  // ---- Random numbers: SplitMix32, a hash of a number's place ------------------------------------------------------
  /** @param {number} x */
  const mix = x => {
    x = Math.imul(x ^ (x >>> 16), 0x21f0aaad);
    x = Math.imul(x ^ (x >>> 15), 0x735a2d97);
    return (x ^ (x >>> 15)) >>> 0;
  };

  /** @param {number} seed @returns {Random} */
  function random(seed) {
    let place = mix(seed);
    const uniform = () => (mix((place += 0x9e3779b9)) + 0.5) / 2 ** 32;
    const normal = () => {
      const u = uniform(), v = uniform();
      return Math.sqrt(-2 * Math.log(u)) * Math.cos(2 * Math.PI * v); // Box and Muller
    };
    return { uniform, normal };
  }

  // ---- Parameters and how they start -------------------------------------------------------------------------------
  const zeros = (/** @type {number} */ n) => new Float64Array(n);
  const fill = (/** @type {number} */ n, /** @type {() => number} */ draw) => zeros(n).map(draw);

  /** @param {Matrix} w @returns {Parameter} */
  const parameter = w => ({ w, g: zeros(w.length), m: zeros(w.length), v: zeros(w.length) });

  /** @param {Random} draws @param {number} n @param {number} fanIn */
  const asPyTorch = (draws, n, fanIn) => fill(n, () => (2 * draws.uniform() - 1) / Math.sqrt(fanIn));

  /** A matrix's start, before the gain.
   * @type {Record<string, (draws: Random, rows: number, columns: number) => Matrix>} */
  const WEIGHT = {
    pytorch: (draws, rows, columns) => asPyTorch(draws, rows * columns, columns),
    xavier: (draws, rows, columns) => fill(rows * columns, () => draws.normal() * Math.sqrt(2 / (rows + columns))),
    he: (draws, rows, columns) => fill(rows * columns, () => draws.normal() * Math.sqrt(2 / columns)),
    lecun: (draws, rows, columns) => fill(rows * columns, () => draws.normal() / Math.sqrt(columns)),
    orthogonal(draws, rows, columns) {
      const long = Math.max(rows, columns), short = Math.min(rows, columns);
      const drawn = fill(long * short, draws.normal), result = zeros(long * short);
      /** @type {Matrix[]} */
      const basis = []; // Q of QR with R's diagonal positive, by Gram and Schmidt; a second time for what rounding left
      for (let j = 0; j < short; j++) {
        const q = zeros(long).map((_, i) => drawn[i * short + j]);
        for (const p of [...basis, ...basis]) {
          const dot = q.reduce((sum, value, i) => sum + value * p[i], 0);
          for (let i = 0; i < long; i++) q[i] -= dot * p[i];
        }
        const size = Math.sqrt(q.reduce((sum, value) => sum + value * value, 0));
        basis.push(q.map(value => value / size));
      }
      const at = rows >= columns ? [short, 1] : [1, long]; // as columns, or as rows
      basis.forEach((q, j) => q.forEach((value, i) => (result[i * at[0] + j * at[1]] = value)));
      return result;
    },
  };

  /** @param {Setting} setting @param {Random} draws @param {number} rows @param {number} columns */
  const weight = ({ init, gain }, draws, rows, columns) => WEIGHT[init](draws, rows, columns).map(w => gain * w);

  // ---- Matrices ----------------------------------------------------------------------------------------------------
  /** C (n, m) = A (n, k) B (k, m), or that added to it. A and B come with the strides of their rows and columns, which
   * change places in a transposed matrix. Four rows by two columns at a time; at an edge the last one is done again.
   * @param {Matrix} C @param {Matrix} A @param {Matrix} B @param {number} n @param {number} m @param {number} k
   * @param {number} aRow @param {number} aColumn @param {number} bRow @param {number} bColumn @param {boolean} add */
  function multiply(C, A, B, n, m, k, aRow, aColumn, bRow, bColumn, add) {
    for (let i = 0; i < n; i += 4) {
      const i1 = Math.min(i + 1, n - 1), i2 = Math.min(i + 2, n - 1), i3 = Math.min(i + 3, n - 1);
      const a0 = i * aRow, a1 = i1 * aRow, a2 = i2 * aRow, a3 = i3 * aRow;
      const c0 = i * m, c1 = i1 * m, c2 = i2 * m, c3 = i3 * m;
      for (let j = 0; j < m; j += 2) {
        const l = Math.min(j + 1, m - 1), b0 = j * bColumn, b1 = l * bColumn;
        let s00 = 0, s01 = 0, s10 = 0, s11 = 0, s20 = 0, s21 = 0, s30 = 0, s31 = 0;
        if (add) {
          s00 = C[c0 + j]; s01 = C[c0 + l]; s10 = C[c1 + j]; s11 = C[c1 + l];
          s20 = C[c2 + j]; s21 = C[c2 + l]; s30 = C[c3 + j]; s31 = C[c3 + l];
        }
        for (let p = 0, a = 0, b = 0; p < k; p++, a += aColumn, b += bRow) {
          const x0 = A[a0 + a], x1 = A[a1 + a], x2 = A[a2 + a], x3 = A[a3 + a], y0 = B[b0 + b], y1 = B[b1 + b];
          s00 += x0 * y0; s01 += x0 * y1; s10 += x1 * y0; s11 += x1 * y1;
          s20 += x2 * y0; s21 += x2 * y1; s30 += x3 * y0; s31 += x3 * y1;
        }
        C[c0 + j] = s00; C[c0 + l] = s01; C[c1 + j] = s10; C[c1 + l] = s11;
        C[c2 + j] = s20; C[c2 + l] = s21; C[c3 + j] = s30; C[c3 + l] = s31;
      }
    }
  }

  /** z = x Wᵀ + b, for n rows.
   * @param {Matrix} z @param {Matrix} x @param {Parameter} W @param {Parameter} b @param {number} n */
  function affine(z, x, W, b, n) {
    const rows = b.w.length, columns = W.w.length / rows;
    for (let i = 0; i < n; i++) z.set(b.w, i * rows);
    multiply(z, x, W.w, n, rows, columns, columns, 1, 1, columns, true);
  }

  /** From dz the gradients of W, of b and, into dx, that of x.
   * @param {Matrix} dz @param {Matrix} x @param {Parameter} W @param {Parameter} b @param {number} n
   * @param {Matrix?} dx */
  function affineBack(dz, x, W, b, n, dx) {
    const rows = b.w.length, columns = W.w.length / rows;
    multiply(W.g, dz, x, rows, columns, n, 1, rows, columns, 1, false);
    sumRows(b.g, dz, n);
    if (dx) multiply(dx, dz, W.w, n, columns, rows, rows, 1, columns, 1, false);
  }

  /** @param {Matrix} sum @param {Matrix} x @param {number} n */
  function sumRows(sum, x, n) {
    const columns = sum.length;
    sum.fill(0);
    for (let i = 0, at = 0; i < n; i++) for (let j = 0; j < columns; j++) sum[j] += x[at++];
  }

  /** Frobenius norm, right also where the squares would underflow or overflow. @param {Matrix} x */
  function norm(x) {
    let sum = 0;
    for (let i = 0; i < x.length; i++) sum += x[i] * x[i];
    if (sum > 1e-280 && sum < 1e280) return Math.sqrt(sum);
    let size = 0;
    for (let i = 0; i < x.length; i++) size = Math.max(size, Math.abs(x[i])); // NaN where one is
    if (!(size > 0 && size < Infinity)) return size;
    sum = 0;
    for (let i = 0; i < x.length; i++) sum += (x[i] / size) ** 2;
    return size * Math.sqrt(sum);
  }

  /** @param {Matrix} x */
  const rms = x => norm(x) / Math.sqrt(x.length);

  // ---- Activations -------------------------------------------------------------------------------------------------
  const sigmoid = (/** @type {number} */ z) => 1 / (1 + Math.exp(-z));

  /** The normal distribution's. @param {number} z */
  const density = z => Math.exp(-z * z / 2) / Math.sqrt(2 * Math.PI);
  const distribution = (/** @type {number} */ z) => { // by a series whose terms have one sign: nothing cancels
    if (Math.abs(z) > 9) return z > 0 ? 1 : 0;
    let term = z, sum = z;
    for (let n = 3; Math.abs(term) > 1e-17 * Math.abs(sum); n += 2) sum += term *= z * z / n;
    return 0.5 + density(z) * sum;
  };
  const ALPHA = 1.6732632423543772, SCALE = 1.0507009873554805; // selu's

  /** The value at z, the slope from z and the value, and the largest slope where the ends are flat.
   * @type {Record<string, [(z: number) => number, (z: number, h: number) => number, number?]>} */
  const PHI = {
    linear: [z => z, () => 1],
    sigmoid: [sigmoid, (_, h) => h * (1 - h), 0.25],
    tanh: [Math.tanh, (_, h) => 1 - h * h, 1],
    relu: [z => (z <= 0 ? 0 : z), z => (z <= 0 ? 0 : 1)], // NaN stays NaN
    leaky_relu: [z => (z > 0 ? z : 0.01 * z), z => (z > 0 ? 1 : 0.01)],
    elu: [z => (z > 0 ? z : Math.expm1(z)), z => (z > 0 ? 1 : Math.exp(z))],
    selu: [z => SCALE * (z > 0 ? z : ALPHA * Math.expm1(z)), z => SCALE * (z > 0 ? 1 : ALPHA * Math.exp(z))],
    gelu: [z => z * distribution(z), z => distribution(z) + z * density(z)],
    silu: [z => z * sigmoid(z), z => sigmoid(z) * (1 + z * (1 - sigmoid(z)))],
  };

  // ---- Normalisation -----------------------------------------------------------------------------------------------
  /** As PyTorch's modules: of a unit over the batch, or of an example over its units. In place.
   * @param {string} kind @param {number} width @param {number} batch */
  function normalisation(kind, width, batch) {
    const overBatch = kind === "batch", centred = kind !== "rms", eps = centred ? 1e-5 : Number.EPSILON;
    const gain = parameter(zeros(width).fill(1)), offset = parameter(zeros(width));
    const mean = zeros(width), variance = zeros(width).fill(1); // the running ones, which `predict` goes by
    const unit = zeros(batch * width), scale = zeros(Math.max(batch, width)); // z before gain and offset; 1 / deviation
    const [step, stride] = overBatch ? [width, 1] : [1, width]; // to the next of a group, and to the next group

    /** @param {Matrix} z @param {number} n @param {boolean} training */
    function forward(z, n, training) {
      const groups = overBatch ? width : n, size = overBatch ? n : width;
      for (let g = 0; g < groups; g++) {
        const first = g * stride;
        let m = 0, v = 0;
        if (overBatch && !training) [m, v] = [mean[g], variance[g]];
        else {
          if (centred) for (let i = 0, at = first; i < size; i++, at += step) m += z[at] / size;
          for (let i = 0, at = first; i < size; i++, at += step) v += (z[at] - m) ** 2 / size;
          if (overBatch) {
            mean[g] += 0.1 * (m - mean[g]);
            variance[g] += 0.1 * (v * size / (size - 1) - variance[g]);
          }
        }
        scale[g] = 1 / Math.sqrt(v + eps);
        for (let i = 0, at = first; i < size; i++, at += step) {
          const u = overBatch ? g : i;
          unit[at] = (z[at] - m) * scale[g];
          z[at] = unit[at] * gain.w[u] + offset.w[u];
        }
      }
    }

    /** @param {Matrix} dz @param {number} n */
    function backward(dz, n) {
      const groups = overBatch ? width : n, size = overBatch ? n : width;
      gain.g.fill(0);
      offset.g.fill(0);
      for (let g = 0; g < groups; g++) {
        let sum = 0, dot = 0;
        for (let i = 0, at = g * stride; i < size; i++, at += step) {
          const u = overBatch ? g : i, d = dz[at];
          offset.g[u] += d;
          gain.g[u] += d * unit[at];
          dz[at] = d * gain.w[u];
          sum += dz[at];
          dot += dz[at] * unit[at];
        }
        if (!centred) sum = 0;
        for (let i = 0, at = g * stride; i < size; i++, at += step) {
          dz[at] = scale[g] * (dz[at] - sum / size - unit[at] * dot / size);
        }
      }
    }
    return { forward, backward, parameters: centred ? [gain, offset] : [gain] };
  }

  // ---- The feed-forward network ------------------------------------------------------------------------------------
  /** @param {Setting} setting @param {Random} draws @param {number} inputs @param {number} classes */
  function feedForward(setting, draws, inputs, classes) {
    const { depth, width, batch, init, skip } = setting, [phi, slope, steepest = -Infinity] = PHI[setting.activation];
    const alpha = parameter(zeros(depth)), size = batch * width;
    /** @param {number} rows @param {number} columns */
    const linear = (rows, columns) => {
      const W = parameter(weight(setting, draws, rows, columns));
      return { W, b: parameter(init === "pytorch" ? asPyTorch(draws, rows, columns) : zeros(rows)) };
    };
    const layers = Array.from({ length: depth }, (_, l) => ({
      ...linear(width, l ? width : inputs),
      norm: setting.norm === "none" ? null : normalisation(setting.norm, width, batch),
      z: zeros(size), phi: zeros(size), h: zeros(size),
    }));
    const output = linear(classes, width), logits = zeros(batch * classes);
    const alive = new Uint8Array(width), dead = Array(depth).fill(0), saturated = Array(depth).fill(0);
    let dh = zeros(size), below = zeros(size);
    const dz = zeros(size);

    /** What a branch is multiplied by; nothing goes around the first layer. @param {number} l */
    const share = l => (skip === "rezero" ? alpha.w[l] : skip === "scaled" ? 1 / Math.sqrt(depth) : 1);

    /** @param {Matrix} x @param {number} n @param {boolean} training */
    function forward(x, n, training) {
      let h = x;
      for (let l = 0; l < depth; l++) {
        const layer = layers[l];
        affine(layer.z, h, layer.W, layer.b, n);
        layer.norm?.forward(layer.z, n, training);
        for (let i = 0; i < n * width; i++) layer.phi[i] = phi(layer.z[i]);
        if (l && skip !== "none") {
          const s = share(l);
          for (let i = 0; i < n * width; i++) layer.h[i] = h[i] + s * layer.phi[i];
        } else layer.h = layer.phi;
        h = layer.h;
      }
      affine(logits, h, output.W, output.b, n);
      return logits;
    }

    /** @param {Matrix} x @param {Matrix} dlogits */
    function backward(x, dlogits) {
      affineBack(dlogits, layers[depth - 1].h, output.W, output.b, batch, dh);
      for (let l = depth - 1; l >= 0; l--) {
        const layer = layers[l], skips = l > 0 && skip !== "none", s = skips ? share(l) : 1;
        let flat = 0, dot = 0;
        alive.fill(0);
        for (let i = 0, u = 0; i < size; i++, u = u + 1 === width ? 0 : u + 1) {
          const steep = slope(layer.z[i], layer.phi[i]);
          dot += dh[i] * layer.phi[i];
          dz[i] = s * dh[i] * steep;
          if (steep !== 0) alive[u] = 1;
          if (steep < FLAT * steepest) flat++;
        }
        alpha.g[l] = skips ? dot : 0;
        saturated[l] = flat / size;
        dead[l] = alive.reduce((count, lives) => count - lives, width) / width;
        layer.norm?.backward(dz, batch);
        affineBack(dz, l ? layers[l - 1].h : x, layer.W, layer.b, batch, l ? below : null);
        if (skips) for (let i = 0; i < size; i++) below[i] += dh[i];
        [dh, below] = [below, dh];
      }
    }

    const all = [...layers, output], matrices = all.map(layer => layer.W);
    return {
      parameters: [
        ...all.flatMap(({ W, b }) => [W, b]), ...layers.flatMap(layer => layer.norm?.parameters ?? []),
        ...(skip === "rezero" ? [alpha] : []),
      ],
      matrices, forward, backward,
      watch: () => ({
        gradients: matrices.map(W => norm(W.g)), signal: layers.map(layer => rms(layer.h)), dead, saturated,
      }),
    };
  }

  // ---- Recurrent networks ------------------------------------------------------------------------------------------
  /** Gates stand one after the other, in PyTorch's order, a row of them for each example of each time step.
   * @param {Setting} setting @param {Random} draws */
  function recurrent(setting, draws) {
    const { net, width, batch, length } = setting, size = batch * width;
    const gates = /** @type {Record<string, number>} */ ({ rnn: 1, gru: 3, lstm: 4 })[net], wide = gates * width;
    const start = (/** @type {number} */ n) => parameter(asPyTorch(draws, n, width));
    const W = start(wide * SYMBOLS), U = parameter(zeros(wide * width));
    for (let gate = 0; gate < gates; gate++) U.w.set(weight(setting, draws, width, width), gate * width * width);
    const b = start(wide), c = start(wide), V = start(SYMBOLS * width), d = start(SYMBOLS);
    if (net === "lstm") for (let j = width; j < 2 * width; j++) b.w[j] += setting.forget;

    /** A row a time step, with views of each. @param {number} steps @param {number} n */
    const overTime = (steps, n) => {
      const whole = zeros(steps * n);
      return { whole, at: Array.from({ length: steps }, (_, t) => whole.subarray(t * n, (t + 1) * n)) };
    };
    const h = overTime(length + 1, size), gate = overTime(length, batch * wide); // h.at[0] stays 0
    const cell = overTime(net === "lstm" ? length + 1 : 0, size); // the lstm's
    const inner = overTime(net === "gru" ? length : 0, size); // what the gru's reset gate multiplies
    const dstate = net === "gru" ? overTime(length, batch * wide) : gate; // dL/d(U h + c); of all other sums, in `gate`
    const logits = zeros(batch * SYMBOLS), table = zeros(SYMBOLS * wide), gradients = zeros(length);
    const dh = zeros(size), dcell = zeros(size);

    /** @param {Uint8Array} symbols (length, batch) */
    function forward(symbols) {
      for (let i = 0; i < table.length; i++) { // what each symbol adds to the gates
        const symbol = Math.floor(i / wide), j = i % wide;
        table[i] = W.w[j * SYMBOLS + symbol] + b.w[j];
      }
      for (let t = 0; t < length; t++) {
        const a = gate.at[t], before = h.at[t], after = h.at[t + 1];
        affine(a, before, U, c, batch);
        for (let row = 0; row < batch; row++) {
          advance(t, a, row * wide, symbols[t * batch + row] * wide, before, after, row * width);
        }
      }
      affine(logits, h.at[length], V, d, batch);
      return logits;
    }

    /** One example's next h: its gates begin at g, its symbol's row of the table at x, its row of h at `at`.
     * @param {number} t @param {Matrix} a @param {number} g @param {number} x
     * @param {Matrix} before @param {Matrix} after @param {number} at */
    function advance(t, a, g, x, before, after, at) {
      const H = width;
      for (let j = 0; j < H; j++) {
        const i0 = g + j, x0 = x + j, k = at + j;
        if (net === "rnn") a[i0] = after[k] = Math.tanh(a[i0] + table[x0]);
        else if (net === "lstm") {
          const i = (a[i0] = sigmoid(a[i0] + table[x0])), f = (a[i0 + H] = sigmoid(a[i0 + H] + table[x0 + H]));
          const n = (a[i0 + 2 * H] = Math.tanh(a[i0 + 2 * H] + table[x0 + 2 * H]));
          const o = (a[i0 + 3 * H] = sigmoid(a[i0 + 3 * H] + table[x0 + 3 * H]));
          const now = (cell.at[t + 1][k] = f * cell.at[t][k] + i * n);
          after[k] = o * Math.tanh(now);
        } else {
          const r = (a[i0] = sigmoid(a[i0] + table[x0])), z = (a[i0 + H] = sigmoid(a[i0 + H] + table[x0 + H]));
          const u = (inner.at[t][k] = a[i0 + 2 * H]), n = (a[i0 + 2 * H] = Math.tanh(table[x0 + 2 * H] + r * u));
          after[k] = n + z * (before[k] - n);
        }
      }
    }

    /** dL/dh at time t + 1 becomes the gradients of the gates at t, and what of it goes past them stays in dh.
     * @param {number} t @param {Matrix} a @param {number} g @param {number} at */
    function retreat(t, a, g, at) {
      const H = width;
      for (let j = 0; j < H; j++) {
        const i0 = g + j, k = at + j, dk = dh[k];
        if (net === "rnn") {
          a[i0] = dk * (1 - a[i0] * a[i0]);
          dh[k] = 0;
        } else if (net === "lstm") {
          const i = a[i0], f = a[i0 + H], n = a[i0 + 2 * H], o = a[i0 + 3 * H], out = Math.tanh(cell.at[t + 1][k]);
          const dc = dcell[k] + dk * o * (1 - out * out);
          a[i0] = dc * n * i * (1 - i);
          a[i0 + H] = dc * cell.at[t][k] * f * (1 - f);
          a[i0 + 2 * H] = dc * i * (1 - n * n);
          a[i0 + 3 * H] = dk * out * o * (1 - o);
          dcell[k] = dc * f;
          dh[k] = 0;
        } else {
          const r = a[i0], z = a[i0 + H], n = a[i0 + 2 * H], dn = dk * (1 - z) * (1 - n * n), e = dstate.at[t];
          a[i0] = e[i0] = dn * inner.at[t][k] * r * (1 - r);
          a[i0 + H] = e[i0 + H] = dk * (h.at[t][k] - n) * z * (1 - z);
          a[i0 + 2 * H] = dn;
          e[i0 + 2 * H] = dn * r;
          dh[k] = dk * z;
        }
      }
    }

    /** @param {Uint8Array} symbols @param {Matrix} dlogits */
    function backward(symbols, dlogits) {
      const n = length * batch;
      affineBack(dlogits, h.at[length], V, d, batch, dh);
      dcell.fill(0);
      U.g.fill(0);
      for (let t = length - 1; t >= 0; t--) {
        gradients[t] = norm(dh);
        for (let row = 0; row < batch; row++) retreat(t, gate.at[t], row * wide, row * width);
        multiply(dh, dstate.at[t], U.w, batch, width, wide, wide, 1, width, 1, true);
        multiply(U.g, dstate.at[t], h.at[t], wide, width, batch, 1, wide, width, 1, true);
      }
      sumRows(b.g, gate.whole, n);
      sumRows(c.g, dstate.whole, n);
      W.g.fill(0);
      for (let row = 0, at = 0; row < n; row++) {
        for (let j = 0; j < wide; j++) W.g[j * SYMBOLS + symbols[row]] += gate.whole[at++];
      }
    }

    return {
      parameters: [W, U, b, c, V, d], matrices: [W, U, V], forward, backward,
      watch: () => ({ gradients: [...gradients], signal: h.at.slice(1).map(rms) }),
    };
  }

  // ---- Data --------------------------------------------------------------------------------------------------------
  /** A point of each toy from two numbers between 0 and 1, its label y and sign 1 - 2 y.
   * @type {Record<string, (t: number, s: number, y: number, sign: number) => [number, number]>} */
  const TOYS = {
    spirals: (t, _, y) => [t * Math.cos(Math.PI * (3.5 * t + y)), t * Math.sin(Math.PI * (3.5 * t + y))],
    circles: (t, _, y) => [(1 - 0.6 * y) * Math.cos(2 * Math.PI * t), (1 - 0.6 * y) * Math.sin(2 * Math.PI * t)],
    moons: (t, _, y, sign) => [sign * (Math.cos(Math.PI * t) - 0.5), sign * (Math.sin(Math.PI * t) - 0.25)],
    xor: (t, s, _, sign) => [2 * t - 1, Math.sign(2 * t - 1) * sign * s],
  };

  /** @param {string} name @param {Random} draws */
  function toy(name, draws) {
    const x = zeros(2 * POINTS), y = new Uint8Array(POINTS);
    for (let i = 0; i < POINTS; i++) {
      y[i] = i % 2;
      const point = TOYS[name](draws.uniform(), draws.uniform(), y[i], 1 - 2 * y[i]);
      for (const axis of [0, 1]) x[2 * i + axis] = point[axis] + NOISE * (2 * draws.uniform() - 1);
    }
    return { x, y };
  }

  /** Shifted and scaled by the mean and the standard deviation of all pixels, which are letters from a, 0, to q, 16.
   * @param {Digits} digits */
  function images({ pixels, labels }) {
    const x = zeros(pixels.length).map((_, i) => pixels.charCodeAt(i) - 97), n = x.length;
    const sum = x.reduce((all, value) => all + value, 0), squares = x.reduce((all, value) => all + value * value, 0);
    const mean = sum / n, deviation = Math.sqrt(n * squares - sum * sum) / n; // sums of whole numbers, so not rounded
    return { x: x.map(value => (value - mean) / deviation), y: Uint8Array.from(labels, Number) };
  }

  // ---- Training ----------------------------------------------------------------------------------------------------
  /** The mean over the examples. Turns logits into their gradient.
   * @param {Matrix} logits @param {Uint8Array} labels @param {number} classes */
  function crossEntropy(logits, labels, classes) {
    let loss = 0, right = 0;
    for (let row = 0; row < labels.length; row++) {
      const its = logits.subarray(row * classes, (row + 1) * classes), own = labels[row];
      logSoftmax(its);
      loss -= its[own];
      if (its.every((value, k) => (k < own ? value < its[own] : value <= its[own]))) right++;
      for (let k = 0; k < classes; k++) its[k] = (Math.exp(its[k]) - (k === own ? 1 : 0)) / labels.length;
    }
    return { loss: loss / labels.length, accuracy: right / labels.length };
  }

  /** Turns logits into the logarithms of their probabilities. @param {Matrix} logits */
  function logSoftmax(logits) {
    let most = -Infinity, sum = 0;
    for (let k = 0; k < logits.length; k++) most = Math.max(most, logits[k]);
    for (let k = 0; k < logits.length; k++) sum += Math.exp(logits[k] - most);
    const rest = Math.log(sum);
    for (let k = 0; k < logits.length; k++) logits[k] = logits[k] - most - rest; // in this order a small loss is exact
  }

  /** What is subtracted, per unit of learning rate, by PyTorch's optimisers with their own defaults. Adam divides its
   * averages by the weights that these have gathered so far, m and v.
   * @type {Record<string, (p: Parameter, i: number, m: number, v: number) => number>} */
  const UPDATE = {
    sgd: (p, i) => p.g[i],
    momentum: (p, i) => (p.m[i] = 0.9 * p.m[i] + p.g[i]),
    rmsprop: (p, i) => p.g[i] / (Math.sqrt((p.v[i] = 0.99 * p.v[i] + 0.01 * p.g[i] ** 2)) + 1e-8),
    adam(p, i, m, v) {
      p.m[i] += 0.1 * (p.g[i] - p.m[i]);
      p.v[i] = 0.999 * p.v[i] + 0.001 * p.g[i] ** 2;
      return p.m[i] / m / (Math.sqrt(p.v[i] / v) + 1e-8);
    },
  };

  /** @param {Parameter[]} parameters @param {number} most */
  function clip(parameters, most) {
    const share = Math.min(1, most / (norm(Float64Array.from(parameters, p => norm(p.g))) + 1e-6));
    for (const { g } of parameters) for (let i = 0; i < g.length; i++) g[i] *= share;
  }

  /** JSON has no nan and no infinity: they are strings, in Python's words. Nothing told is below 0. @param {number} x */
  const plain = x => (Number.isFinite(x) ? x : Number.isNaN(x) ? "nan" : "inf");

  /** A network with its data and its optimiser. `step` takes a step and tells of it: gradients before clipping, updates
   * as norms over those of the weights. `predict` gives the classes' probabilities at points, flat, by what batch
   * normalisation has averaged.
   * @param {Setting} setting @param {Digits} [digits] what digits.js holds, for those */
  function create(setting, digits = (/** @type {any} */ (globalThis)).vgTrainDigits) {
    const { net, batch, length, optimizer, lr, warmup } = setting, isFlat = net === "mlp";
    const weights = random(2 * setting.seed), draws = random(2 * setting.seed + 1);
    const data = !isFlat ? null : setting.data === "digits" ? images(digits) : toy(setting.data, draws);
    const inputs = data ? data.x.length / data.y.length : 0, classes = !data ? SYMBOLS : inputs === 2 ? 2 : 10;
    /** @type {any} */
    const network = data ? feedForward(setting, weights, inputs, classes) : recurrent(setting, weights);
    const x = data ? zeros(batch * inputs) : new Uint8Array(length * batch), labels = new Uint8Array(batch);
    const change = zeros(Math.max(...network.parameters.map((/** @type {Parameter} */ p) => p.w.length)));
    let step = 0;

    function nextBatch() {
      if (data) {
        for (let row = 0; row < batch; row++) {
          const i = Math.floor(draws.uniform() * data.y.length);
          x.set(data.x.subarray(i * inputs, (i + 1) * inputs), row * inputs);
          labels[row] = data.y[i];
        }
      } else {
        for (let i = 0; i < x.length; i++) x[i] = Math.floor(draws.uniform() * SYMBOLS);
        const asked = setting.data === "first" ? 0 : length >> 1;
        labels.set(x.subarray(asked * batch, (asked + 1) * batch));
      }
    }

    function update() {
      const rate = lr * (warmup ? Math.min(1, (step + 1) / warmup) : 1), of = UPDATE[optimizer];
      const m = 1 - 0.9 ** (step + 1), v = 1 - 0.999 ** (step + 1);
      if (setting.clip) clip(network.parameters, setting.clip);
      /** @type {Map<Parameter, number>} */
      const shares = new Map();
      for (const p of network.parameters) {
        const before = norm(p.w), n = p.w.length;
        for (let i = 0; i < n; i++) p.w[i] -= change[i] = rate * of(p, i, m, v);
        shares.set(p, norm(change.subarray(0, n)) / before);
      }
      return network.matrices.map((/** @type {Parameter} */ p) => shares.get(p));
    }

    return {
      data, network,
      step() {
        nextBatch();
        const logits = network.forward(x, batch, true), { loss, accuracy } = crossEntropy(logits, labels, classes);
        network.backward(x, logits);
        const state = { loss, accuracy, ...network.watch(), updates: update() };
        const tell = (/** @type {any} */ value) => (Array.isArray(value) ? value.map(plain) : plain(value));
        return { step: step++, ...Object.fromEntries(Object.entries(state).map(([key, value]) => [key, tell(value)])) };
      },
      /** @param {Matrix} points */
      predict(points) {
        const n = points.length / inputs, found = zeros(n * classes);
        for (let first = 0; first < n; first += batch) {
          const some = points.subarray(first * inputs, (first + batch) * inputs), rows = some.length / inputs;
          found.set(network.forward(some, rows, false).subarray(0, rows * classes), first * classes);
        }
        for (let row = 0; row < n; row++) logSoftmax(found.subarray(row * classes, (row + 1) * classes));
        return found.map(Math.exp);
      },
    };
  }

  // ---- Settings: by the same data as vgdocs.explorer.train, and in the same words -----------------------------------
  const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;
  const listed = (/** @type {string[]} */ names) => names.join(", ").replace(/, ([^,]*)$/, " or $1");

  /** What a key may be, given the keys before it; null where the setting's net doesn't have it.
   * @param {string} key @param {Setting} setting */
  function option(key, setting) {
    const found = vgTrain.OPTIONS[key];
    if (found.nets && !found.nets.includes(setting.net)) return null;
    return found.by ? { ...found, ...found.per[setting[found.by]] } : found;
  }

  /** @param {string} key @param {Setting} known @param {string} text */
  function read(key, known, text) {
    if (known.values) {
      if (!known.values.includes(text)) throw new Error(`${key} is ${listed(known.values)}, not ${text}`);
      return text;
    }
    const value = NUMBER.test(text) ? Number(text) : NaN;
    const { least, most } = known;
    if (!(value >= least && value <= most)) throw new Error(`${key} is ${least} to ${most}, not ${text}`);
    if (known.whole && value % 1) throw new Error(`${key} is a whole number, not ${text}`);
    return value;
  }

  /** The setting of a link or of its query alone, with every default of its net. @param {string} link */
  function parse(link) {
    let search = link.split("#")[0];
    if (/[?/]/.test(search)) search = search.split("?").slice(1).join("?");
    /** @type {Setting} */
    const given = {}, setting = /** @type {Setting} */ ({});
    for (const pair of search.split("&").filter(Boolean)) {
      const [key, ...text] = pair.split("=");
      if (!Object.hasOwn(vgTrain.OPTIONS, key)) {
        throw new Error(`there is no setting "${key}": it is ${listed(Object.keys(vgTrain.OPTIONS))}`);
      }
      if (Object.hasOwn(given, key)) throw new Error(`${key} is given twice`);
      given[key] = text.join("=");
    }
    for (const key of Object.keys(vgTrain.OPTIONS)) {
      const known = option(key, setting);
      if (known) setting[key] = Object.hasOwn(given, key) ? read(key, known, given[key]) : known.default;
      else if (Object.hasOwn(given, key)) {
        throw new Error(`${key} is for ${listed(vgTrain.OPTIONS[key].nets)}, not for ${setting.net}`);
      }
    }
    if (setting.norm === "batch" && setting.batch === 1) throw new Error("norm=batch needs a batch of at least 2");
    return setting;
  }

  /** @param {Setting} setting */
  const query = setting => Object.entries(setting).filter(([key, value]) => value !== option(key, setting).default)
    .map(([key, value]) => `${key}=${value}`).join("&");

  /** The setting as a plain PyTorch script that prints its losses and its gradients' norms. @param {Setting} setting */
  function script(setting) {
    const one = (/** @type {string} */ name) => {
      const filling = vgTrain.FILLINGS[name];
      return filling ? filling[setting[filling.by]] ?? filling["*"] : setting[name];
    };
    const fill = (/** @type {string[]} */ ...match) => one(match[1]);
    let text = vgTrain.TEMPLATE;
    while (text.includes("{{")) text = text.replace(/\{\{(\w+)\}\}/g, fill);
    return text;
  }

  Object.assign(vgTrain, { option, parse, query, create, script });
})();
