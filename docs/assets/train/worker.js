// @ts-check
/* Trains the networks that the page shows, beside it, so that the page never waits for them. It answers questions and has
 * no clock of its own: the page asks as long as it gets frames, which a tab in the background doesn't, and rests there.
 * Opened from the file system, where browsers start no workers, the page runs this same file itself.
 *
 * {make, settings}: new networks, one or two; {make, steps, ms, points}: so many steps of each, in lockstep, or fewer
 * if they take longer than that; and what the networks then make of the points, if any are given.
 */
(() => {
  "use strict";
  const scope = /** @type {any} */ (self);

  /** @param {(answer: object) => void} post */
  scope.vgTrainServe = post => {
    /** @type {any[]} */
    let trainers = [];
    let make = 0; // which networks these are: answers about others come too late

    /** @param {any} question */
    return ({ make: number, settings, steps = 0, ms = Infinity, points }) => {
      if (settings) {
        make = number;
        trainers = settings.map((/** @type {any} */ setting) => scope.vgTrain.create(setting));
      } else if (number !== make) return;
      const end = performance.now() + ms, states = [];
      for (let step = 0; step < steps && (!step || performance.now() < end); step++) {
        states.push(trainers.map(trainer => trainer.step()));
      }
      const classes = points ? trainers.map(trainer => trainer.predict(points)) : null;
      const data = settings && settings[0].net === "mlp" && settings[0].data !== "digits" ? trainers[0].data : null;
      post({ make, states, classes, data });
    };
  };

  if (typeof document !== "undefined") return;
  scope.importScripts("settings.js", "engine.js");
  const serve = scope.vgTrainServe(scope.postMessage.bind(scope));
  scope.onmessage = (/** @type {MessageEvent} */ { data }) => {
    if (data.digits && !scope.vgTrainDigits) scope.importScripts("digits.js");
    serve(data);
  };
})();
