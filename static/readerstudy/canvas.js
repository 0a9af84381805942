// Draws on a 2-D canvas what webgl.js draws with a graphics card, to within rounding.

import { axisOf, greyLine, greys, paint, placeOf, sample } from "./maths.js";

function sampled({ pixels, width, height, padding = null }, place, pane) {
  const columns = axisOf(width, place.x, place.width, pane.x, pane.width);
  const rows = axisOf(height, place.y, place.height, pane.y, pane.height);
  return { ...sample(pixels, width, rows, columns, padding), rows, columns };
}

// Off the image all is black, whatever the window makes of a stored 0.
function blackOutside(grey, { rows, columns }) {
  const across = columns.taps.length;
  grey.fill(0, 0, rows.from * across);
  grey.fill(0, rows.to * across);
  for (let y = rows.from; y < rows.to; y += 1) {
    grey.fill(0, y * across, y * across + columns.from);
    grey.fill(0, y * across + columns.to, (y + 1) * across);
  }
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
    if (layers[index]?.key !== key) {
      layers[index] = {
        key,
        image: pane.image && sampled(image, place, pane),
        map: pane.map && sampled(overlay, place, pane),
        grey: new Float32Array(pane.width * pane.height),
        data: new ImageData(pane.width, pane.height),
      };
    }
    return layers[index];
  }

  function drawPane(pane, index, state) {
    const { image, map, grey, data } = layerOf(pane, index, state.view);
    if (image) {
      greys(image, greyLine(state.window, { ...stimulus.image, ...state }), grey);
      blackOutside(grey, image);
    }
    const values = map && state.opacity > 0 ? map.values : null;
    paint(grey, values, state.opacity, state.threshold, data.data);
    context.putImageData(data, pane.x, pane.y);
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
