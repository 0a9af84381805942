// Draws on a 2-D canvas what webgl.js draws with a graphics card, to within rounding.

import { axisOf, greyLine, greys, paint, placeOf, sample, visiblePart } from "./maths.js";

function sampled({ pixels, width, height, padding = null }, place, part) {
  const columns = axisOf(width, place.x, place.width, part.x, part.width);
  const rows = axisOf(height, place.y, place.height, part.y, part.height);
  return sample(pixels, width, rows, columns, padding);
}

/**
 * A renderer: show(stimulus) takes what viewer.js was given, draw(state) paints the
 * canvas from it.
 *
 * What is slow, the sampling, is done again only when the image has moved; a window or
 * an opacity that follows the mouse costs a multiplication a pixel.
 */
export function createCanvasRenderer(canvas) {
  const context = canvas.getContext("2d", { alpha: false });
  let stimulus = null;
  let layers = []; // a pane each: its place, samples, greys and colours

  function layerOf(pane, index, view) {
    const { image, overlay } = stimulus;
    const place = placeOf(image, view, pane);
    const key = JSON.stringify([place, pane]);
    if (layers[index]?.key === key) return layers[index];
    const part = visiblePart(place, pane);
    layers[index] = {
      key,
      part,
      image: pane.image && sampled(image, place, part),
      map: pane.map && sampled(overlay, place, part),
      grey: new Float32Array(part.width * part.height),
      data: part.width && part.height && new ImageData(part.width, part.height),
    };
    return layers[index];
  }

  function drawPane(pane, index, state) {
    const { part, image, map, grey, data } = layerOf(pane, index, state.view);
    if (!data) return; // out of sight
    if (image) greys(image, greyLine(state.window, { ...stimulus.image, ...state }), grey);
    const values = map && state.opacity > 0 ? map.values : null;
    paint(grey, values, state.opacity, state.threshold, data.data);
    context.putImageData(data, part.x, part.y);
  }

  return {
    name: "canvas",
    show(next) {
      stimulus = next;
      layers = [];
    },
    draw(state) {
      context.fillStyle = "#000";
      context.fillRect(0, 0, canvas.width, canvas.height);
      if (stimulus) state.panes.forEach((pane, index) => drawPane(pane, index, state));
    },
  };
}
