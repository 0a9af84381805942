// The viewer's arithmetic: numbers in, numbers out, no document.
//
// Places are in pixels from the top left corner, pixel centres at half integers. A
// window is in rescaled values (Hounsfield units, for example), as its readers speak.

// The map's two colours. The legend in style.css uses the same.
export const NEGATIVE = [76, 141, 245];
export const POSITIVE = [232, 80, 70];

// A map holds -127..127 for a normalised gradient of -1..1.
export const FULL = 127;

// Of the view: how far it can be from "all of the image fits", and screen pixels per
// pixel of the image.
export const LEAST_ZOOM = 0.5;
const MOST_SCALE = 40;

const ARRAYS = { uint8: Uint8Array, uint16: Uint16Array, int8: Int8Array };

const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

/**
 * The numbers in a raw buffer of height x width pixels.
 *
 * The server sends uint16 in little-endian order, which is the order of every machine
 * that runs a browser. Throws a RangeError if the buffer's length does not fit.
 */
export function pixelsOf(buffer, dtype, width, height) {
  const Pixels = ARRAYS[dtype];
  if (!Pixels) throw new RangeError(`pixels of type ${dtype} are not known`);
  const expected = width * height * Pixels.BYTES_PER_ELEMENT;
  if (buffer.byteLength !== expected) {
    throw new RangeError(`${buffer.byteLength} bytes came instead of ${expected}`);
  }
  return new Pixels(buffer);
}

// --- Window -----------------------------------------------------------------------

/**
 * DICOM PS3.3 C.11.2.1.2.1, the linear window: from a stored value x, whole or an
 * average of several, to a grey of 0..1.
 *
 * It is clamp((x - origin) * rise + level), as every step on the way is linear: the
 * rescaling of stored values, the window, and `inverted`, which makes low values bright
 * (MONOCHROME1). A width of 1 has no slope: it is a threshold, here so steep a rise that
 * no value lies on it, and a value at the origin is still below.
 */
export function greyLine({ center, width }, { slope, intercept, inverted }) {
  const isThreshold = width <= 1;
  const rise = (inverted ? -slope : slope) * (isThreshold ? 1e6 : 1 / (width - 1));
  const below = inverted ? 1 : 0;
  return {
    origin: (center - 0.5 - intercept) / slope,
    rise,
    level: isThreshold ? below : 0.5,
  };
}

/**
 * The window after a drag by (dx, dy) screen pixels: wider to the right, and brighter,
 * that is with a lower centre, upwards. 400 pixels are `reference`, the width with which
 * the image came.
 */
export function dragWindow({ center, width }, dx, dy, reference) {
  const step = Math.max(reference, 2) / 400;
  return { center: center + dy * step, width: Math.max(1, width + dx * step) };
}

// --- Places -----------------------------------------------------------------------

/**
 * The parts of a canvas that show the image: one, or with "side_by_side" two of equal
 * size, beside or above each other, whichever shows the image larger. `aspect` is the
 * image's width by its height on the screen.
 */
export function panesOf(display, aspect, width, height, gap) {
  if (display !== "side_by_side") return [{ x: 0, y: 0, width, height }];
  const half = { width: Math.floor((width - gap) / 2), height };
  const low = { width, height: Math.floor((height - gap) / 2) };
  const scale = (pane) => Math.min(pane.width / aspect, pane.height);
  if (scale(half) >= scale(low)) {
    return [
      { x: 0, y: 0, ...half },
      { x: width - half.width, y: 0, ...half },
    ];
  }
  return [
    { x: 0, y: 0, ...low },
    { x: 0, y: height - low.height, ...low },
  ];
}

/** What a view is at first: all of the image, in the middle. */
export const FIT = Object.freeze({ zoom: 1, x: 0.5, y: 0.5 });

/** Screen pixels per column of the image when all of it fits into the pane. */
export function fitScale({ width, height, rowsPerColumn }, pane) {
  return Math.min(pane.width / width, pane.height / (height * rowsPerColumn));
}

/**
 * Where the whole image lies, parts outside the pane included.
 *
 * A view is {zoom, x, y}: zoom 1 fits, and the point at the shares x and y of the image
 * is in the middle of the pane. `rowsPerColumn` is the height of a pixel by its width.
 * The corner is a whole pixel, so that an image at its own size is shown unaltered.
 */
export function placeOf(image, view, pane) {
  const scale = fitScale(image, pane) * view.zoom;
  const width = Math.max(1, image.width * scale);
  const height = Math.max(1, image.height * image.rowsPerColumn * scale);
  return {
    x: pane.x + Math.round(pane.width / 2 - view.x * width),
    y: pane.y + Math.round(pane.height / 2 - view.y * height),
    width,
    height,
  };
}

/** The view with its zoom in range and its middle on the image. */
export function clampView(view, image, pane) {
  const most = Math.max(1, MOST_SCALE / fitScale(image, pane));
  return {
    zoom: clamp(view.zoom, LEAST_ZOOM, most),
    x: clamp(view.x, 0, 1),
    y: clamp(view.y, 0, 1),
  };
}

/** Zoomed by `factor` so that the image's point under (x, y) stays there. */
export function zoomAt(view, image, pane, factor, x, y) {
  const zoom = clampView({ ...view, zoom: view.zoom * factor }, image, pane).zoom;
  const scale = fitScale(image, pane);
  const nearer = 1 / view.zoom - 1 / zoom;
  const across = (x - pane.x - pane.width / 2) / (image.width * scale);
  const down =
    (y - pane.y - pane.height / 2) / (image.height * image.rowsPerColumn * scale);
  const moved = { zoom, x: view.x + across * nearer, y: view.y + down * nearer };
  return clampView(moved, image, pane);
}

/** Moved so that the image follows a pointer by (dx, dy) screen pixels. */
export function panBy(view, image, pane, dx, dy) {
  const scale = fitScale(image, pane) * view.zoom;
  const moved = {
    zoom: view.zoom,
    x: view.x - dx / (image.width * scale),
    y: view.y - dy / (image.height * image.rowsPerColumn * scale),
  };
  return clampView(moved, image, pane);
}

/**
 * The pixel of the image, counted from 0 at the top left, that lies at the place (x, y)
 * of the canvas; null where there is none. `place` is placeOf() in that pane.
 */
export function pixelAt(image, place, pane, x, y) {
  if (x < pane.x || x >= pane.x + pane.width) return null;
  if (y < pane.y || y >= pane.y + pane.height) return null;
  const column = Math.floor(((x - place.x) / place.width) * image.width);
  const row = Math.floor(((y - place.y) / place.height) * image.height);
  const isOn = column >= 0 && column < image.width && row >= 0 && row < image.height;
  return isOn ? { x: column, y: row } : null;
}

/** Where on the canvas a place of the image lies, in pixels of it from its corner. */
export function canvasPlace(image, place, x, y) {
  return {
    x: place.x + (x / image.width) * place.width,
    y: place.y + (y / image.height) * place.height,
  };
}

/** The pixels of the image between two of its pixels, both of them within: [x, y, w, h]. */
export function boxBetween(one, other) {
  const x = Math.min(one.x, other.x);
  const y = Math.min(one.y, other.y);
  return [x, y, Math.abs(one.x - other.x) + 1, Math.abs(one.y - other.y) + 1];
}

/**
 * The longest bar of 1, 2 or 5 times a power of ten millimetres that fits into `most`
 * screen pixels: {mm, pixels}.
 */
export function scaleBar(pixelsPerMm, most) {
  const power = 10 ** Math.floor(Math.log10(most / pixelsPerMm));
  const times = [5, 2, 1].find((times) => times * power * pixelsPerMm <= most);
  const mm = times * power;
  return { mm, pixels: mm * pixelsPerMm };
}

// --- Sampling ---------------------------------------------------------------------

/** The whole pixels of a pane whose middles lie on the image, perhaps none. */
export function visiblePart(place, pane) {
  const from = (side, at) => Math.max(pane[side], Math.ceil(at - 0.5));
  const x = from("x", place.x);
  const y = from("y", place.y);
  const right = Math.min(pane.x + pane.width, Math.ceil(place.x + place.width - 0.5));
  const bottom = Math.min(pane.y + pane.height, Math.ceil(place.y + place.height - 0.5));
  return { x, y, width: Math.max(0, right - x), height: Math.max(0, bottom - y) };
}

/**
 * How much each of `count` source pixels counts for each of `length` screen pixels from
 * `first` on, along one axis, when the whole axis lies at `start` and is `extent` long.
 *
 * A screen pixel sees the source through a box as wide as itself, but never narrower
 * than one source pixel. Enlarged, that is linear interpolation between pixel centres,
 * and the outermost pixels continue to the edge; reduced, it is the exact average of
 * all that the screen pixel covers, so that no thin line is lost.
 *
 * Returns {taps, weights, stride}: for each screen pixel, `taps` holds the first source
 * pixel and `weights` its and the following ones' weights, `stride` apiece, which add up
 * to 1.
 */
export function axisOf(count, start, extent, first, length) {
  const ratio = count / extent;
  const box = Math.max(1, ratio);
  const stride = Math.min(count, Math.ceil(box) + 1);
  const taps = new Int32Array(length);
  const weights = new Float32Array(length * stride);
  for (let i = 0; i < length; i += 1) {
    const at = (first + i + 0.5 - start) * ratio;
    const low = Math.max(0, at - box / 2);
    const high = Math.min(count, at + box / 2);
    // The last taps may have no weight, but must be there to be read.
    const tap = Math.min(Math.floor(low), count - stride);
    taps[i] = tap;
    for (let k = 0; k < stride; k += 1) {
      const overlap = Math.min(tap + k + 1, high) - Math.max(tap + k, low);
      weights[i * stride + k] = Math.max(0, overlap) / (high - low);
    }
  }
  return { taps, weights, stride };
}

// The weighted sum of rows. Two at a time: half as many visits to `sums`.
function addRows(sums, values, offset, width, weights, low, high) {
  for (let k = 0; k < weights.length; k += 2) {
    const one = offset + k * width;
    const first = weights[k];
    if (k + 1 < weights.length) {
      const other = one + width;
      const second = weights[k + 1];
      for (let x = low; x < high; x += 1) {
        sums[x] += first * values[one + x] + second * values[other + x];
      }
    } else {
      for (let x = low; x < high; x += 1) sums[x] += first * values[one + x];
    }
  }
}

// The same of what is no padding, and how much that is.
function addInside(sums, shares, values, offset, width, weights, low, high, padding) {
  for (let k = 0; k < weights.length; k += 1) {
    const one = offset + k * width;
    const weight = weights[k];
    for (let x = low; x < high; x += 1) {
      const value = values[one + x];
      if (value === padding) continue;
      sums[x] += weight * value;
      shares[x] += weight;
    }
  }
}

function squeeze(row, { taps, weights, stride }, result, offset) {
  for (let x = 0; x < taps.length; x += 1) {
    const tap = taps[x];
    const at = x * stride;
    let sum = 0;
    for (let k = 0; k < stride; k += 1) sum += weights[at + k] * row[tap + k];
    result[offset + x] = sum;
  }
}

/**
 * Stored values at the places of screen pixels.
 *
 * `rows` and `columns` are of `axisOf`. Returns {values, shares}: values, Float32Array of
 * rows x columns, averages over the pixels that are not `padding`, 0 if all are; shares,
 * how much of each was not padding (0..1), or null without padding.
 *
 * Of a map the values are interpolated, not the colours: between a negative and a
 * positive neighbour it passes through zero, that is, through full transparency.
 */
export function sample(pixels, width, rows, columns, padding = null) {
  const across = columns.taps.length;
  const values = new Float32Array(rows.taps.length * across);
  const shares = padding === null ? null : new Float32Array(values.length);
  if (values.length === 0) return { values, shares };
  const low = columns.taps[0];
  const high = columns.taps[across - 1] + columns.stride;
  const row = new Float32Array(width);
  const inside = new Float32Array(width);
  for (let y = 0; y < rows.taps.length; y += 1) {
    const offset = rows.taps[y] * width;
    const weights = rows.weights.subarray(y * rows.stride, (y + 1) * rows.stride);
    row.fill(0);
    if (shares) {
      inside.fill(0);
      addInside(row, inside, pixels, offset, width, weights, low, high, padding);
      squeeze(inside, columns, shares, y * across);
    } else {
      addRows(row, pixels, offset, width, weights, low, high);
    }
    squeeze(row, columns, values, y * across);
  }
  if (shares) {
    for (let i = 0; i < values.length; i += 1) if (shares[i] > 0) values[i] /= shares[i];
  }
  return { values, shares };
}

// --- Colour -----------------------------------------------------------------------

/**
 * Greys 0..255 of sampled values, unrounded, into `result`. A pixel that is partly padding is as much
 * darker: padding is no part of the image and black.
 */
export function greys({ values, shares }, { origin, rise, level }, result) {
  for (let i = 0; i < values.length; i += 1) {
    const grey = 255 * clamp((values[i] - origin) * rise + level, 0, 1);
    result[i] = shares ? grey * shares[i] : grey;
  }
  return result;
}

/**
 * The colours of a map over greys, into `rgba` (Uint8ClampedArray, 4 to a pixel).
 *
 * Blue below zero, red above, and as opaque as the value is far from zero, where nothing
 * is painted at all; nothing either where it is less than `threshold` (0..1) of the
 * most it can be. `values` null paints greys alone.
 */
export function paint(grey, values, opacity, threshold, rgba) {
  const words = new Uint32Array(rgba.buffer, rgba.byteOffset, grey.length);
  const least = threshold * FULL;
  for (let i = 0; i < grey.length; i += 1) {
    const value = values ? values[i] : 0;
    const size = Math.abs(value);
    const alpha = size < least ? 0 : (opacity * size) / FULL;
    const colour = value < 0 ? NEGATIVE : POSITIVE;
    const under = grey[i] * (1 - alpha) + 0.5;
    const red = (under + alpha * colour[0]) | 0;
    const green = (under + alpha * colour[1]) | 0;
    const blue = (under + alpha * colour[2]) | 0;
    words[i] = 0xff000000 | (blue << 16) | (green << 8) | red;
  }
  return rgba;
}
