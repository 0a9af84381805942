// One image with its map on a 2-D canvas that fills its frame.

import { fit, greyLevels, greyPixels, mapPixels, resample, windowLut } from "./maths.js";

const LEVELS = { 1: 256, 2: 65536 };

function sized(width, height) {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  return canvas;
}

function painted(rgba, width, height) {
  const canvas = sized(width, height);
  canvas.getContext("2d").putImageData(new ImageData(rgba, width, height), 0, 0);
  return canvas;
}

function windowed({ pixels, window, inverted, padding }) {
  const levels = LEVELS[pixels.BYTES_PER_ELEMENT];
  return greyLevels(pixels, windowLut({ levels, ...window, inverted, padding }));
}

// The image as grey levels, at the size of `place`.
function scaledImage(levels, width, height, place) {
  if (place.width >= width) {
    // Browsers enlarge with weights of a few bits only, which draws steps.
    const enlarged = resample(levels, width, height, place.width, place.height);
    return painted(greyPixels(enlarged), place.width, place.height);
  }
  // Reducing they do well, and average, so that no thin line is lost.
  const canvas = sized(place.width, place.height);
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  const original = painted(greyPixels(levels), width, height);
  context.drawImage(original, 0, 0, place.width, place.height);
  return canvas;
}

function scaledMap({ values, width, height }, place) {
  const scaled = resample(values, width, height, place.width, place.height);
  return painted(mapPixels(scaled), place.width, place.height);
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
  let shown = null; // levels, width, height, overlay
  let scaled = null; // both layers at the size they were last drawn: place, image, map
  let opacity = 1;
  let overlayVisible = true;

  function scale() {
    const { levels, width, height, overlay } = shown;
    const place = fit(width, height, canvas.width, canvas.height);
    const image = scaledImage(levels, width, height, place);
    return { place, image, map: scaledMap(overlay, place) };
  }

  function draw() {
    context.fillStyle = "#000";
    context.fillRect(0, 0, canvas.width, canvas.height);
    if (!shown || !canvas.width || !canvas.height) return;
    scaled ??= scale();
    const { place, image, map } = scaled;
    context.drawImage(image, place.x, place.y);
    if (!overlayVisible) return;
    context.globalAlpha = opacity;
    context.drawImage(map, place.x, place.y);
    context.globalAlpha = 1;
  }

  function resize(width, height) {
    if (canvas.width === width && canvas.height === height) return;
    canvas.width = width;
    canvas.height = height;
    scaled = null;
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

  function replace(stimulus) {
    shown = stimulus;
    scaled = null;
    draw();
  }

  return {
    show({ image, overlay }) {
      const { width, height } = image;
      replace({ levels: windowed(image), width, height, overlay });
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
      replace(null);
    },
  };
}
