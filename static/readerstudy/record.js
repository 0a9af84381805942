// What a reader did with the viewer, in a few numbers, for the study's record.

// Who neither moves the mouse nor presses a key for so long is looking elsewhere.
const IDLE_MS = 30_000;
const SIGNS_OF_LIFE = ["pointermove", "pointerdown", "keydown", "wheel"];

/** Time in which the page was in sight and its reader there. */
function createActiveClock() {
  let sum = 0;
  let last = performance.now();

  function count() {
    const now = performance.now();
    // Hidden, nothing is counted; a long silence counts as the first 30 s of it.
    if (last !== null) sum += Math.min(now - last, IDLE_MS);
    last = document.hidden ? null : now;
  }

  for (const sign of SIGNS_OF_LIFE) {
    document.addEventListener(sign, count, { capture: true, passive: true });
  }
  document.addEventListener("visibilitychange", count);
  return {
    restart() {
      sum = 0;
      last = document.hidden ? null : performance.now();
    },
    get ms() {
      count();
      return sum;
    },
  };
}

const rounded = (value) => Math.round(100 * value) / 100;

/**
 * Watches one presentation after another.
 *
 * arrived() when its panel is there, drawn() when image and map are on the screen,
 * changed(state) with every state of the viewer, answered(key, isChange) with every answer
 * to the question of that key. summary(viewer) is:
 *   window {center, width} in rescaled values, inverted, opacity (0..1), threshold
 *   (0..1), all as they are at the end; zoom_max (1 fits the screen); overlay_off_ms,
 *   peeks included; peeks (a number); active_ms, in sight and not idle; drawn_ms, from
 *   the panel to the picture; renderer ("webgl2" or "canvas"); canvas [width, height] in
 *   device pixels; device_pixel_ratio; questions {key: {first_ms, changes}}, from the
 *   picture to the first answer and how often it was altered after; order, the keys as
 *   they were answered first
 */
export function createRecord() {
  const active = createActiveClock();
  let arrivedAt = 0;
  let drawnAt = 0;
  let drawnMs = 0;
  let questions = {}; // by key, in the order of answering
  let zoomMax = 1;
  let offMs = 0;
  let offSince = null;
  let peeks = 0;
  let wasPeeking = false;

  return {
    arrived() {
      arrivedAt = performance.now();
    },
    drawn() {
      drawnAt = performance.now();
      drawnMs = drawnAt - arrivedAt;
      questions = {};
      [zoomMax, offMs, offSince, peeks, wasPeeking] = [1, 0, null, 0, false];
      active.restart();
    },
    changed({ view, mapVisible, peeking }) {
      const now = performance.now();
      zoomMax = Math.max(zoomMax, view.zoom);
      if (peeking && !wasPeeking) peeks += 1;
      wasPeeking = peeking;
      if (offSince !== null) offMs += now - offSince;
      offSince = mapVisible && !peeking ? null : now;
    },
    answered(key, isChange) {
      const firstMs = Math.round(performance.now() - drawnAt);
      questions[key] ??= { first_ms: firstMs, changes: 0 };
      if (isChange) questions[key].changes += 1;
    },
    summary({ state, renderer, size }) {
      const { center, width } = state.window;
      const off = offSince === null ? 0 : performance.now() - offSince;
      return {
        window: { center: rounded(center), width: rounded(width) },
        inverted: state.inverted,
        opacity: rounded(state.opacity),
        threshold: rounded(state.threshold),
        zoom_max: rounded(zoomMax),
        overlay_off_ms: Math.round(offMs + off),
        peeks,
        active_ms: Math.round(active.ms),
        drawn_ms: Math.round(drawnMs),
        renderer,
        canvas: size,
        device_pixel_ratio: rounded(window.devicePixelRatio),
        questions,
        order: Object.keys(questions),
      };
    },
  };
}
