// The pixels of this presentation, and of the next one before it is asked for.

import { pixelsOf } from "./maths.js";

/** The session has ended: the server sent the login page instead. */
export class SessionEnded extends Error {}

// What data-PREFIXimage, data-PREFIXoverlay and their sizes say: see reading.js.
function sourceOf(data, prefix) {
  const of = (name) => data[prefix ? prefix + name[0].toUpperCase() + name.slice(1) : name];
  const size = (name) => ({
    width: Number(of(`${name}Width`)),
    height: Number(of(`${name}Height`)),
  });
  const overlay = { address: of("overlay"), dtype: "int8", ...size("overlay") };
  return {
    image: { address: of("image"), dtype: of("imageDtype"), ...size("image") },
    overlay: overlay.address ? overlay : null,
  };
}

async function fetchPixels({ address, dtype, width, height }, options) {
  const request = { ...options, cache: "no-store" };
  const response = await fetch(address, request).catch((error) => {
    throw options.signal.aborted ? error : new Error("the server cannot be reached");
  });
  if (response.redirected) throw new SessionEnded("the session has ended");
  if (!response.ok) throw new Error(`the server answered ${response.status}`);
  const pixels = pixelsOf(await response.arrayBuffer(), dtype, width, height);
  return { pixels, width, height };
}

const isSame = (one, other) =>
  one.image.address === other.image.address &&
  one.overlay?.address === other.overlay?.address;

/**
 * Fetches stimuli and holds at most one that is not shown yet, and the last image.
 *
 * `data` is the dataset of a panel. take(data, signal) gives {image, overlay} with their
 * pixels, from what is held if it is that; overlay is null where the panel names none, and
 * a map that comes to the image on the screen is fetched without it. prefetch(data, onHeld) fetches the presentation
 * that data-next-image and its like name, hands it to `onHeld` unless it was taken before,
 * and is silent about failures: what it could not hold is fetched when it is taken.
 */
export function createStimuli() {
  let held = null;
  let last = null; // the image that was taken last: its address and pixels

  async function fetchBoth({ image, overlay }, options) {
    const isHere = last?.address === image.address;
    const [first, second] = await Promise.all([
      isHere ? last.image : fetchPixels(image, options),
      overlay && fetchPixels(overlay, options),
    ]);
    return { image: first, overlay: second };
  }

  async function taken({ controller, promise }, source, signal) {
    const abort = () => controller.abort();
    signal.addEventListener("abort", abort);
    try {
      return await promise;
    } catch (error) {
      if (signal.aborted) throw error;
      return await fetchBoth(source, { signal });
    } finally {
      signal.removeEventListener("abort", abort);
    }
  }

  return {
    async take(data, signal) {
      const source = sourceOf(data, "");
      const before = held;
      held = null;
      const isHeld = before && isSame(before.source, source);
      if (before && !isHeld) before.controller.abort();
      const both = isHeld
        ? await taken(before, source, signal)
        : await fetchBoth(source, { signal });
      last = { address: source.image.address, image: both.image };
      return both;
    },
    prefetch(data, onHeld) {
      if (!data.nextImage) return;
      const source = sourceOf(data, "next");
      if (held && isSame(held.source, source)) return;
      held?.controller.abort();
      const controller = new AbortController();
      const promise = fetchBoth(source, { signal: controller.signal, priority: "low" });
      const own = { source, controller, promise };
      held = own;
      promise.then(
        (pixels) => held === own && onHeld(pixels),
        () => {}, // told to whoever takes it
      );
    },
  };
}
