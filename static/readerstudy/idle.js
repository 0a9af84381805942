// Work that can wait.

// A step is begun only if there is so much time before the next frame.
const STEP_MS = 4;

/**
 * Runs the iterator `steps` to its end while the page has nothing else to do, and
 * returns a function that stops it. A browser without requestIdleCallback runs nothing.
 */
export function whenIdle(steps) {
  if (!window.requestIdleCallback) return () => {};
  let request = null;
  function run(deadline) {
    while (deadline.timeRemaining() > STEP_MS) if (steps.next().done) return;
    request = requestIdleCallback(run);
  }
  request = requestIdleCallback(run);
  return () => cancelIdleCallback(request);
}
