// The mouse, fingers and pens on the image.
//
//   left button, pen or one finger: window (across the width, up and down the centre)
//   middle button, or any with the space bar down: move
//   right button up and down, or the wheel: zoom at the pointer
//   two fingers: zoom and move
//   double click or double tap: reset
//
// While a place in the image is asked for, a click or a tap marks it, and a double one
// does not reset; a drag is what it was.

const DOUBLE_TAP_MS = 350;
const DOUBLE_TAP_PIXELS = 30;
// Of a hand that holds still: farther, and it is a drag.
const CLICK_PIXELS = 4;
// Screen pixels of a drag, or of a wheel, that double the size.
const DRAG_DOUBLES = 150;
const WHEEL_DOUBLES = 300;
// What a wheel counts in: pixels, lines, pages.
const WHEEL_UNITS = [1, 40, 800];

const middle = (a, b) => ({ x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 });
const distance = (a, b) => Math.hypot(a.x - b.x, a.y - b.y);
const placeOf = (event) => ({ x: event.clientX, y: event.clientY });

/**
 * Lets pointers on `frame` change what `viewer` shows.
 *
 * `marks` is of marks.js: isOn says whether a place is asked for, at(clientX, clientY)
 * marks one, and hover(clientX, clientY) tells where the mouse is.
 */
export function listenToPointers(frame, viewer, marks) {
  const pointers = new Map(); // those that are down: where, where first, and what they do
  let isSpaceDown = false;
  let hasSpaceDragged = false;
  let lastTap = null;

  function actOf(event) {
    if (event.button === 1 || isSpaceDown) return "pan";
    return event.button === 2 ? "zoom" : "window";
  }

  function drag(pointer, { x, y }) {
    const [dx, dy] = [x - pointer.x, y - pointer.y];
    if (pointer.act === "window") viewer.windowBy(dx, dy);
    else if (pointer.act === "pan") viewer.panBy(dx, dy);
    else viewer.zoomAt(2 ** (-dy / DRAG_DOUBLES), pointer.first.x, pointer.first.y);
  }

  function pinch(id, place) {
    const [still] = [...pointers].filter(([other]) => other !== id).map(([, p]) => p);
    const before = pointers.get(id);
    const [from, to] = [middle(still, before), middle(still, place)];
    viewer.panBy(to.x - from.x, to.y - from.y);
    const factor = distance(still, place) / Math.max(1, distance(still, before));
    if (factor > 0) viewer.zoomAt(factor, to.x, to.y);
  }

  frame.addEventListener("pointerdown", (event) => {
    // A second button of the mouse does not change what the first is doing.
    if (pointers.has(event.pointerId) || pointers.size === 2) return;
    event.preventDefault(); // no text selection, no scrolling by the middle button
    frame.setPointerCapture(event.pointerId);
    const place = placeOf(event);
    const act = actOf(event);
    const isStill = marks.isOn && act === "window";
    pointers.set(event.pointerId, { ...place, first: place, act, isStill });
    // Two fingers are no click, whatever they do.
    if (pointers.size === 2) for (const pointer of pointers.values()) pointer.isStill = false;
    if (isSpaceDown) hasSpaceDragged = true;
    frame.dataset.act = act;
  });

  frame.addEventListener("pointermove", (event) => {
    const pointer = pointers.get(event.pointerId);
    if (!pointer) {
      if (pointers.size === 0) marks.hover(event.clientX, event.clientY);
      return;
    }
    const place = placeOf(event);
    if (pointer.isStill && distance(pointer.first, place) <= CLICK_PIXELS) return;
    pointer.isStill = false;
    if (pointers.size === 1) drag(pointer, place);
    else pinch(event.pointerId, place);
    Object.assign(pointer, place);
  });

  function release(event) {
    const pointer = pointers.get(event.pointerId);
    if (!pointer) return;
    pointers.delete(event.pointerId);
    // The finger that stays after a pinch does nothing more.
    for (const other of pointers.values()) other.act = "pan";
    delete frame.dataset.act;
    if (event.type !== "pointerup") return;
    if (pointer.isStill) marks.at(pointer.first.x, pointer.first.y);
    else if (event.pointerType !== "mouse" && !marks.isOn) tap(pointer, event);
  }

  // Browsers tell of double clicks, but not reliably of double taps.
  function tap(pointer, event) {
    const place = placeOf(event);
    const isTap = distance(pointer.first, place) < DOUBLE_TAP_PIXELS;
    const isSecond =
      lastTap &&
      event.timeStamp - lastTap.at < DOUBLE_TAP_MS &&
      distance(lastTap.place, place) < DOUBLE_TAP_PIXELS;
    if (isTap && isSecond) viewer.reset();
    lastTap = isTap && !isSecond ? { at: event.timeStamp, place } : null;
  }

  frame.addEventListener("pointerup", release);
  frame.addEventListener("pointercancel", release);
  frame.addEventListener("lostpointercapture", release);
  frame.addEventListener("contextmenu", (event) => event.preventDefault());
  frame.addEventListener("dblclick", () => marks.isOn || viewer.reset());

  frame.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      const turned = event.deltaY * WHEEL_UNITS[event.deltaMode];
      viewer.zoomAt(2 ** (-turned / WHEEL_DOUBLES), event.clientX, event.clientY);
    },
    { passive: false },
  );

  document.addEventListener("keydown", (event) => {
    if (event.code !== "Space") return;
    isSpaceDown = true;
    frame.dataset.space = "";
    // Elsewhere the space bar presses a button or writes a space.
    if (event.target === document.body) event.preventDefault();
  });
  document.addEventListener("keyup", (event) => {
    if (event.code !== "Space") return;
    // It has moved the image, and shall not press the button that has the focus as well.
    if (hasSpaceDragged) event.preventDefault();
    releaseSpace();
  });

  function releaseSpace() {
    isSpaceDown = false;
    hasSpaceDragged = false;
    delete frame.dataset.space;
  }
  window.addEventListener("blur", releaseSpace);
}
