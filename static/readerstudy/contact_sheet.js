// The allocator's sheet: every case, and beside it the case under each of its maps.
// For a look at what was imported; what readers see is drawn by viewer.js.

import { NEGATIVE, POSITIVE, pixelsOf } from "./maths.js";

const FULL = 127;
const OPACITY = 0.7;

const waiting = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    if (!isIntersecting) continue;
    waiting.unobserve(target);
    draw(target).catch((error) => tell(target, error));
  }
}, { rootMargin: "300px" });

for (const sheet of document.querySelectorAll(".sheet")) waiting.observe(sheet);

function tell(sheet, error) {
  const problem = sheet.querySelector(".errornote");
  problem.textContent = `Not drawn: ${error.message}.`;
  problem.hidden = false;
}

async function draw(sheet) {
  const picture = JSON.parse(sheet.dataset.picture);
  const pixels = pixelsOf(
    await fetched(sheet.dataset.image), picture.dtype, picture.width, picture.height);
  const image = bitmap(greys(pixels, picture), picture.width, picture.height);
  for (const canvas of sheet.querySelectorAll("canvas")) {
    const { map, width, height } = canvas.dataset;
    const layers = [[image, 1]];
    if (map) {
      const values = pixelsOf(await fetched(map), "int8", Number(width), Number(height));
      layers.push([bitmap(colours(values), Number(width), Number(height)), OPACITY]);
    }
    lay(canvas, picture, layers);
    canvas.dataset.drawn = "";
  }
}

async function fetched(address) {
  const response = await fetch(address, { cache: "no-store" });
  if (!response.ok) throw new Error(`the server answered ${response.status}`);
  return response.arrayBuffer();
}

/** RGBA of stored pixels through the case's window, DICOM PS3.3 C.11.2.1.2.1. */
function greys(pixels, { slope, intercept, inverted, padding, window }) {
  const rgba = new Uint8ClampedArray(4 * pixels.length);
  for (let i = 0; i < pixels.length; i += 1) {
    const below = slope * pixels[i] + intercept - (window.center - 0.5);
    let y = below > 0 ? 1 : 0;
    if (window.width !== 1) y = below / (window.width - 1) + 0.5;
    y = Math.min(1, Math.max(0, y));
    if (inverted) y = 1 - y;
    if (pixels[i] === padding) y = 0;
    rgba.fill(255 * y, 4 * i, 4 * i + 3);
    rgba[4 * i + 3] = 255;
  }
  return rgba;
}

/** RGBA of a map: a colour by sign, and the more of it the further from zero. */
function colours(values) {
  const rgba = new Uint8ClampedArray(4 * values.length);
  for (let i = 0; i < values.length; i += 1) {
    rgba.set(values[i] < 0 ? NEGATIVE : POSITIVE, 4 * i);
    rgba[4 * i + 3] = (255 * Math.min(FULL, Math.abs(values[i]))) / FULL;
  }
  return rgba;
}

function bitmap(rgba, width, height) {
  const canvas = new OffscreenCanvas(width, height);
  canvas.getContext("2d").putImageData(new ImageData(rgba, width, height), 0, 0);
  return canvas;
}

/** The layers over each other, in the image's proportions and as large as they fit. */
function lay(canvas, { width, height }, layers) {
  const scale = Math.min(canvas.width / width, canvas.height / height);
  const [w, h] = [width * scale, height * scale];
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  for (const [layer, opacity] of layers) {
    // Enlarged, every value is seen as it was stored.
    context.imageSmoothingEnabled = w < layer.width;
    context.globalAlpha = opacity;
    context.drawImage(layer, (canvas.width - w) / 2, (canvas.height - h) / 2, w, h);
  }
}
