// One image with its map on a canvas that fills its frame: what is shown, and how.

import { createCanvasRenderer } from "./canvas.js";
import { whenIdle } from "./idle.js";
import {
  FIT,
  dragWindow,
  fitScale,
  panBy,
  panesOf,
  pixelAt,
  placeOf,
  zoomAt,
} from "./maths.js";
import { createWebglRenderer } from "./webgl.js";

// Between image and map side by side, in CSS pixels.
const GAP = 8;
// Where there is no map: one that paints nothing.
const NO_MAP = { pixels: new Int8Array(1), width: 1, height: 1 };

function freshCanvas(old) {
  // A canvas that has met one kind of context cannot have another.
  const canvas = old.cloneNode();
  old.replaceWith(canvas);
  return canvas;
}

/** Calls `resize(width, height)` in device pixels, at once and whenever they change. */
function watchSize(frame, resize) {
  function measure() {
    const ratio = window.devicePixelRatio;
    resize(Math.round(frame.clientWidth * ratio), Math.round(frame.clientHeight * ratio));
  }
  const observer = new ResizeObserver(([entry]) => {
    // The exact number of device pixels, where the browser tells it.
    const size = entry.devicePixelContentBoxSize?.[0];
    if (size) resize(size.inlineSize, size.blockSize);
    else measure();
  });
  try {
    observer.observe(frame, { box: "device-pixel-content-box" });
  } catch {
    observer.observe(frame);
  }
  measure();
}

/**
 * A viewer inside `frame`, an element with a size of its own that holds a canvas.
 *
 * show(stimulus, kept) draws before it returns, as the study has it: nothing of what was
 * done with the stimulus before is left, but for what of the state is given as `kept`.
 *   image: pixels (Uint8Array or Uint16Array), width, height, rowsPerColumn (height of a
 *   pixel by its width), columnMm (its width, or null), slope and intercept of the
 *   rescaling, inverted, padding (a stored value, or null)
 *   windows: at least one {label, center, width}, in rescaled values
 *   overlay: pixels (Int8Array), width, height; it covers the image's full extent. Null
 *   where there is no map: then the image fills one pane, whatever `display` says
 *   opacity (0..1), display ("overlay" or "side_by_side")
 * prepare(stimulus) does in idle time what show() of it will have to do, for a canvas of
 * the present size. Nothing of it is seen. It helps show() as far as the stimulus turns
 * out to be as described and has the same pixels; the next show() lets go of it.
 * clear() shows nothing. `state` is {window, preset (an index, or null after a drag),
 * inverted, opacity, threshold, mapVisible, peeking, view, scale (device pixels per
 * column of the image), pixelsPerMm (or null)}, or null while nothing is shown;
 * `onChange(state)` is called with it after every change. `renderer` is "webgl2" or
 * "canvas", `size` the canvas's in device pixels. `places` tells where the image lies on
 * it: {image, panes: [{pane, place}]} in device pixels, and pixelAt(clientX, clientY) what
 * pixel of the image is there, or null.
 */
export function createViewer(frame, onChange) {
  let canvas = frame.querySelector("canvas");
  let renderer = null;
  let stimulus = null;
  let state = null;
  let frameRequest = null;
  let prepared = null; // the stimulus that the renderer was last asked to prepare
  let stopPreparing = () => {};

  // --- Drawing ---

  function panes({ image, overlay, display } = stimulus) {
    const aspect = image.width / (image.height * image.rowsPerColumn);
    const gap = Math.round(GAP * window.devicePixelRatio);
    const shown = overlay === NO_MAP ? "overlay" : display;
    const [first, second] = panesOf(shown, aspect, canvas.width, canvas.height, gap);
    if (!second) return [{ ...first, image: true, map: true }];
    return [
      { ...first, image: true, map: false },
      { ...second, image: false, map: true },
    ];
  }

  // A state of `shown` as the renderer takes it.
  function drawing(shown, { mapVisible, peeking, ...state }) {
    return {
      panes: panes(shown),
      view: state.view,
      window: state.window,
      inverted: shown.image.inverted !== state.inverted,
      opacity: mapVisible && !peeking ? state.opacity : 0,
      threshold: state.threshold,
    };
  }

  function draw() {
    cancelAnimationFrame(frameRequest);
    frameRequest = null;
    if (!canvas.width || !canvas.height) return;
    // The event that tells of the loss comes later than this picture.
    if (renderer.isLost?.()) fallBack();
    renderer.draw(stimulus && drawing(stimulus, state));
  }

  function change(changes) {
    if (!stimulus) return;
    Object.assign(state, changes);
    frameRequest ??= requestAnimationFrame(draw);
    onChange(snapshot());
  }

  function snapshot() {
    if (!stimulus) return null;
    const scale = fitScale(stimulus.image, panes()[0]) * state.view.zoom;
    const { columnMm } = stimulus.image;
    const pixelsPerMm = columnMm === null ? null : scale / columnMm;
    return { ...state, window: { ...state.window }, scale, pixelsPerMm };
  }

  function resize(width, height) {
    if (canvas.width === width && canvas.height === height) return;
    canvas.width = width;
    canvas.height = height;
    if (!renderer) return;
    // What has been sized anew is empty until it is drawn.
    draw();
    if (stimulus) onChange(snapshot());
  }

  // --- Renderers: with a graphics card, or without ---

  function use(next) {
    renderer = next;
    forgetPrepared();
    renderer.show(stimulus);
    draw();
  }

  function forgetPrepared() {
    stopPreparing();
    prepared = null;
  }

  function fallBack() {
    canvas = freshCanvas(canvas);
    use(createCanvasRenderer(canvas));
  }

  function startWebgl() {
    const own = canvas;
    renderer = createWebglRenderer(own);
    if (!renderer) return false;
    own.addEventListener("webglcontextlost", (event) => {
      event.preventDefault(); // or it is never restored
      if (canvas === own) fallBack();
    });
    own.addEventListener("webglcontextrestored", () => {
      const again = createWebglRenderer(own);
      if (!again) return;
      [own.width, own.height] = [canvas.width, canvas.height];
      canvas.replaceWith(own);
      canvas = own;
      use(again);
    });
    return true;
  }

  if (!startWebgl()) fallBack();
  watchSize(frame, resize);

  // --- What is shown ---

  function initial({ windows, opacity } = stimulus) {
    return {
      window: { ...windows[0] },
      preset: 0,
      inverted: false,
      opacity,
      threshold: 0,
      mapVisible: true,
      peeking: false,
      view: { ...FIT },
    };
  }

  function moved(move) {
    change({ view: move(state.view, stimulus.image, panes()) });
  }

  const complete = (next) => ({ ...next, overlay: next.overlay ?? NO_MAP });

  // Device pixels from the canvas's corner, and the pane that they lie in.
  function locate(clientX, clientY, all) {
    const box = canvas.getBoundingClientRect();
    const x = ((clientX - box.left) * canvas.width) / box.width;
    const y = ((clientY - box.top) * canvas.height) / box.height;
    const within = (pane) => x >= pane.x && y >= pane.y;
    return { x, y, pane: all.findLast(within) ?? all[0] };
  }

  return {
    get state() {
      return snapshot();
    },
    get renderer() {
      return renderer.name;
    },
    get size() {
      return [canvas.width, canvas.height];
    },
    get places() {
      const { image } = stimulus;
      const placed = (pane) => ({ pane, place: placeOf(image, state.view, pane) });
      return { image, panes: panes().map(placed) };
    },
    pixelAt(clientX, clientY) {
      if (!stimulus) return null;
      const { x, y, pane } = locate(clientX, clientY, panes());
      const place = placeOf(stimulus.image, state.view, pane);
      return pixelAt(stimulus.image, place, pane, x, y);
    },
    prepare(described) {
      forgetPrepared();
      const next = complete(described);
      prepared = next;
      stopPreparing = whenIdle(renderer.prepare(next, drawing(next, initial(next))));
    },
    show(described, kept = {}) {
      const next = complete(described);
      const isPrepared =
        prepared !== null &&
        prepared.image.pixels === next.image.pixels &&
        prepared.overlay.pixels === next.overlay.pixels;
      forgetPrepared();
      stimulus = next;
      state = { ...initial(), ...kept };
      renderer.show(stimulus, isPrepared);
      draw();
      onChange(snapshot());
    },
    clear() {
      stimulus = null;
      state = null;
      renderer.show(null);
      draw();
    },

    set(changes) {
      change(changes);
    },
    fit() {
      change({ view: { ...FIT } });
    },
    reset() {
      if (stimulus) change({ ...initial(), peeking: state.peeking });
    },
    nextPreset() {
      if (!stimulus) return;
      // After a drag, to where a reset would lead.
      const preset = state.preset === null ? 0 : state.preset + 1;
      const index = preset % stimulus.windows.length;
      change({ preset: index, window: { ...stimulus.windows[index] } });
    },
    /** Movements are in CSS pixels, places in the window's. */
    windowBy(dx, dy) {
      if (!stimulus) return;
      const { center, width } = dragWindow(
        state.window,
        dx,
        dy,
        stimulus.windows[0].width,
      );
      change({ window: { center, width }, preset: null });
    },
    panBy(dx, dy) {
      if (!stimulus) return;
      const ratio = window.devicePixelRatio;
      moved((view, image, [pane]) => panBy(view, image, pane, dx * ratio, dy * ratio));
    },
    zoomAt(factor, clientX, clientY) {
      if (!stimulus) return;
      moved((view, image, all) => {
        const { x, y, pane } = locate(clientX, clientY, all);
        return zoomAt(view, image, pane, factor, x, y);
      });
    },
  };
}
