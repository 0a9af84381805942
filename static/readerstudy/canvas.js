// Draws on a 2-D canvas what webgl.js draws with a graphics card, to within rounding.

import { axisOf, greyLine, greys, paint, placeOf, sample, visiblePart } from "./maths.js";

// Rows that are sampled and painted in one go: one to three milliseconds.
const BAND_ROWS = 16;

function sampled({ pixels, width, height, padding = null }, place, part) {
  const columns = axisOf(width, place.x, place.width, part.x, part.width);
  const rows = axisOf(height, place.y, place.height, part.y, part.height);
  return sample(pixels, width, rows, columns, padding);
}

function bandsOf({ x, y, width, height }) {
  const bands = [];
  if (width === 0) return bands; // out of sight
  for (let top = y; top < y + height; top += BAND_ROWS) {
    const part = { x, y: top, width, height: Math.min(BAND_ROWS, y + height - top) };
    bands.push({ part, data: null });
  }
  return bands;
}

// The layer at `index`, if it is still of this pane, view and padding, or a fresh one.
function layerOf(layers, index, image, pane, view) {
  const place = placeOf(image, view, pane);
  const key = JSON.stringify([place, pane, image.padding]);
  if (layers[index]?.key !== key) {
    layers[index] = { key, place, bands: bandsOf(visiblePart(place, pane)) };
  }
  return layers[index];
}

function takeSamples(band, { image, overlay }, place, pane) {
  const { part } = band;
  band.image = pane.image && sampled(image, place, part);
  band.map = pane.map && sampled(overlay, place, part);
  band.grey = new Float32Array(part.width * part.height);
  band.data = new ImageData(part.width, part.height);
}

// Each band of each pane, painted. What `layers` holds of that already is not done again.
function* painted(stimulus, layers, state) {
  const line = greyLine(state.window, { ...stimulus.image, ...state });
  const greyKey = JSON.stringify(line);
  const colourKey = JSON.stringify([line, state.opacity, state.threshold]);
  for (const [index, pane] of state.panes.entries()) {
    const { place, bands } = layerOf(layers, index, stimulus.image, pane, state.view);
    for (const band of bands) {
      if (!band.data) takeSamples(band, stimulus, place, pane);
      const { image, map, grey, data } = band;
      if (image && band.greyKey !== greyKey) greys(image, line, grey);
      const values = map && state.opacity > 0 ? map.values : null;
      if (band.colourKey !== colourKey) {
        paint(grey, values, state.opacity, state.threshold, data.data);
      }
      Object.assign(band, { greyKey, colourKey });
      yield band;
    }
  }
}

/**
 * A renderer: show(stimulus) takes what viewer.js was given, draw(state) paints the
 * canvas from it.
 *
 * prepare(stimulus, state) returns an iterator whose steps, each a few milliseconds, do
 * beforehand what draw(state) would have to do. If then show(stimulus, true) says that
 * the pixels are those that prepare() was given last, draw() uses what it finds done for
 * the very state, however little, and does the rest. Any show() of a stimulus lets go of
 * it, shown or not.
 *
 * What is slow, the sampling, is done again only when the image has moved; a window or
 * an opacity that follows the mouse costs a multiplication a pixel.
 */
export function createCanvasRenderer(canvas) {
  const context = canvas.getContext("2d", { alpha: false });
  let stimulus = null;
  let layers = []; // a pane each: its place, and its bands
  let prepared = [];

  return {
    name: "canvas",
    prepare(next, state) {
      prepared = [];
      return painted(next, prepared, state);
    },
    show(next, isPrepared = false) {
      stimulus = next;
      layers = isPrepared ? prepared : [];
      if (next) prepared = [];
    },
    draw(state) {
      context.fillStyle = "#000";
      context.fillRect(0, 0, canvas.width, canvas.height);
      if (!stimulus) return;
      for (const { part, data } of painted(stimulus, layers, state)) {
        context.putImageData(data, part.x, part.y);
      }
    },
  };
}
