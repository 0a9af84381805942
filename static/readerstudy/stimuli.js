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
  return {
    image: { address: of("image"), dtype: of("imageDtype"), ...size("image") },
    overlay: { address: of("overlay"), dtype: "int8", ...size("overlay") },
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

async function fetchBoth({ image, overlay }, options) {
  const both = [fetchPixels(image, options), fetchPixels(overlay, options)];
  const [first, second] = await Promise.all(both);
  return { image: first, overlay: second };
}

const isSame = (one, other) =>
  one.image.address === other.image.address &&
  one.overlay.address === other.overlay.address;

/**
 * Fetches stimuli and holds at most one that is not shown yet.
 *
 * `data` is the dataset of a panel. take(data, signal) gives {image, overlay} with their
 * pixels, from what is held if it is that; prefetch(data, onHeld) fetches the presentation
 * that data-next-image and its like name, hands it to `onHeld` unless it was taken before,
 * and is silent about failures: what it could not hold is fetched when it is taken.
 */
export function createStimuli() {
  let held = null;

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
    take(data, signal) {
      const source = sourceOf(data, "");
      const before = held;
      held = null;
      if (before && isSame(before.source, source)) return taken(before, source, signal);
      before?.controller.abort();
      return fetchBoth(source, { signal });
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
