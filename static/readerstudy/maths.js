// The viewer's arithmetic: numbers in, numbers out, no document.

// The map's two colours. The legend in style.css uses the same.
export const NEGATIVE = [76, 141, 245];
export const POSITIVE = [232, 80, 70];

// A map holds -127..127 for a normalised gradient of -1..1.
const FULL = 127;

const ARRAYS = { uint8: Uint8Array, uint16: Uint16Array, int8: Int8Array };

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

/**
 * DICOM PS3.3 C.11.2.1.2.1, the linear window, as a table of grey levels 0..255.
 *
 * `levels` is the number of stored values (256 or 65536); center and width are in
 * stored values. `inverted` makes low values bright (MONOCHROME1). Stored values equal
 * to `padding` are no part of the image and stay black.
 */
export function windowLut({ levels, center, width, inverted = false, padding = null }) {
  const lut = new Uint8Array(levels);
  for (let x = 0; x < levels; x += 1) {
    // With a width of 1 the formula has no slope: it is a threshold.
    let y = x > center - 0.5 ? 1 : 0;
    if (width !== 1) y = (x - (center - 0.5)) / (width - 1) + 0.5;
    y = Math.min(1, Math.max(0, y));
    lut[x] = Math.round(255 * (inverted ? 1 - y : y));
  }
  if (padding !== null && padding >= 0 && padding < levels) lut[padding] = 0;
  return lut;
}

/** Grey levels 0..255 of stored `pixels`. */
export function greyLevels(pixels, lut) {
  const levels = new Uint8Array(pixels.length);
  for (let i = 0; i < pixels.length; i += 1) levels[i] = lut[pixels[i]];
  return levels;
}

/** Opaque RGBA bytes of grey levels 0..255, written four at a time. */
export function greyPixels(levels) {
  const rgba = new Uint8ClampedArray(4 * levels.length);
  const words = new Uint32Array(rgba.buffer);
  for (let i = 0; i < levels.length; i += 1) {
    words[i] = 0xff000000 | (Math.round(levels[i]) * 0x010101);
  }
  return rgba;
}

// For each of `to` samples: its two neighbours among `from`, and the second's weight.
// Sample centres lie at half integers, and the edge samples continue outwards.
function neighbours(from, to) {
  const first = new Int32Array(to);
  const second = new Int32Array(to);
  const weight = new Float32Array(to);
  for (let i = 0; i < to; i += 1) {
    const at = Math.min(from - 1, Math.max(0, ((i + 0.5) * from) / to - 0.5));
    first[i] = Math.floor(at);
    second[i] = Math.min(from - 1, first[i] + 1);
    weight[i] = at - first[i];
  }
  return { first, second, weight };
}

/**
 * An array of height x width values, bilinearly brought to toHeight x toWidth.
 *
 * Of a map the values are interpolated, not the colours: between a negative and a
 * positive neighbour it passes through zero, that is, through full transparency.
 */
export function resample(values, width, height, toWidth, toHeight) {
  const columns = neighbours(width, toWidth);
  const rows = neighbours(height, toHeight);
  const result = new Float32Array(toWidth * toHeight);
  const row = new Float32Array(width);
  for (let y = 0; y < toHeight; y += 1) {
    for (let x = 0; x < width; x += 1) {
      const above = values[rows.first[y] * width + x];
      const below = values[rows.second[y] * width + x];
      row[x] = above + rows.weight[y] * (below - above);
    }
    for (let x = 0; x < toWidth; x += 1) {
      const left = row[columns.first[x]];
      const right = row[columns.second[x]];
      result[y * toWidth + x] = left + columns.weight[x] * (right - left);
    }
  }
  return result;
}

/**
 * RGBA bytes of signed map values: blue below zero, red above, and as opaque as the
 * value is far from zero, where nothing is painted at all.
 */
export function mapPixels(values) {
  const rgba = new Uint8ClampedArray(4 * values.length);
  for (let i = 0; i < values.length; i += 1) {
    const value = values[i];
    const colour = value < 0 ? NEGATIVE : POSITIVE;
    rgba[4 * i] = colour[0];
    rgba[4 * i + 1] = colour[1];
    rgba[4 * i + 2] = colour[2];
    rgba[4 * i + 3] = (255 * Math.min(FULL, Math.abs(value))) / FULL;
  }
  return rgba;
}

/**
 * The largest rectangle of the image's proportions inside toWidth x toHeight, centred,
 * in whole pixels so that its edges are sharp.
 */
export function fit(width, height, toWidth, toHeight) {
  const scale = Math.min(toWidth / width, toHeight / height);
  const fitted = {
    width: Math.max(1, Math.round(width * scale)),
    height: Math.max(1, Math.round(height * scale)),
  };
  return {
    x: Math.floor((toWidth - fitted.width) / 2),
    y: Math.floor((toHeight - fitted.height) / 2),
    ...fitted,
  };
}
