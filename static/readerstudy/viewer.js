// One image with its map on a 2-D canvas that fills its frame.

import { fit, greyPixels, mapPixels, resample, windowLut } from "./maths.js";

const LEVELS = { 1: 256, 2: 65536 };

function painted(rgba, width, height) {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  canvas.getContext("2d").putImageData(new ImageData(rgba, width, height), 0, 0);
  return canvas;
}

function grey(image) {
  const levels = LEVELS[image.pixels.BYTES_PER_ELEMENT];
  const { inverted, padding } = image;
  const lut = windowLut({ levels, ...image.window, inverted, padding });
  return painted(greyPixels(image.pixels, lut), image.width, image.height);
}

/**
 * A viewer inside `frame`, an element with a size of its own that holds a canvas.
 *
 * show({image, overlay}) draws before it returns:
 *   image: pixels (Uint8Array or Uint16Array), width, height, window {center, width} in
 *   stored values, inverted, padding (a stored value, or null)
 *   overlay: values (Int8Array), width, height; it covers the image's full extent
 * setOpacity(0..1), setOverlayVisible(boolean), clear()
 */
export function createViewer(frame) {
  const canvas = frame.querySelector("canvas");
  const context = canvas.getContext("2d", { alpha: false });
  let shown = null;
  let map = null; // the overlay in colour, at the size it was last drawn
  let opacity = 1;
  let overlayVisible = true;

  function drawMap({ x, y, width, height }) {
    if (!map || map.width !== width || map.height !== height) {
      const { values, width: columns, height: rows } = shown.overlay;
      map = painted(mapPixels(resample(values, columns, rows, width, height)), width, height);
    }
    context.globalAlpha = opacity;
    context.drawImage(map, x, y);
    context.globalAlpha = 1;
  }

  function draw() {
    context.fillStyle = "#000";
    context.fillRect(0, 0, canvas.width, canvas.height);
    if (!shown || !canvas.width || !canvas.height) return;
    const place = fit(shown.image.width, shown.image.height, canvas.width, canvas.height);
    // Plain bilinear when enlarging, so that no value is shown that the image has not
    // between two of its pixels; averaging when reducing, so that no line is lost.
    context.imageSmoothingQuality = place.width > shown.image.width ? "low" : "high";
    context.drawImage(shown.image, place.x, place.y, place.width, place.height);
    if (overlayVisible) drawMap(place);
  }

  function resize(width, height) {
    if (canvas.width === width && canvas.height === height) return;
    canvas.width = width;
    canvas.height = height;
    draw();
  }

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

  return {
    show({ image, overlay }) {
      shown = { image: grey(image), overlay };
      map = null;
      draw();
    },
    setOpacity(value) {
      opacity = value;
      draw();
    },
    setOverlayVisible(visible) {
      overlayVisible = visible;
      draw();
    },
    clear() {
      shown = null;
      map = null;
      draw();
    },
  };
}
