// Points and boxes on the image, in a layer of their own above image and map.

import { boxBetween, canvasPlace } from "./maths.js";

const RADIUS = 9; // of a point's ring, in CSS pixels
const STEP = 1; // of the cross, in pixels of the image
const LONG_STEP = 10;
const ACTIVE = "#58a6ff";
const PASSIVE = "#c3cad3";
const UNDER = "rgb(0 0 0 / 0.75)";

const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

function stroke(context, width, colour) {
  // Seen on black and on white alike.
  context.lineWidth = 2.4 * width;
  context.strokeStyle = UNDER;
  context.stroke();
  context.lineWidth = width;
  context.strokeStyle = colour;
  context.stroke();
}

function drawRing(context, { x, y }, ratio) {
  const radius = RADIUS * ratio;
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
  for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
    context.moveTo(x + 0.35 * radius * dx, y + 0.35 * radius * dy);
    context.lineTo(x + 1.5 * radius * dx, y + 1.5 * radius * dy);
  }
}

function drawCross(context, { x, y }, pane, ratio) {
  const gap = 1.6 * RADIUS * ratio;
  context.beginPath();
  for (const [from, to] of [[pane.x, x - gap], [x + gap, pane.x + pane.width]]) {
    context.moveTo(from, y);
    context.lineTo(to, y);
  }
  for (const [from, to] of [[pane.y, y - gap], [y + gap, pane.y + pane.height]]) {
    context.moveTo(x, from);
    context.lineTo(x, to);
  }
  context.moveTo(x + ratio, y);
  context.arc(x, y, ratio, 0, 2 * Math.PI);
}

function drawName(context, text, { x, y }, ratio, colour) {
  if (!text) return;
  context.font = `600 ${13 * ratio}px system-ui, sans-serif`;
  context.lineJoin = "round";
  context.lineWidth = 4 * ratio;
  context.strokeStyle = UNDER;
  context.strokeText(text, x, y);
  context.fillStyle = colour;
  context.fillText(text, x, y);
}

/**
 * A layer over the canvas in `frame` for what is marked on the image of `viewer`.
 *
 * show(items, active, onChange) draws what the items hold that ask for places, the active
 * one brighter, and lets clicks, taps and the cross answer that one, if it is of them;
 * onChange() is called after each. An item has kind ("points" or "box"), name, most,
 * places (a list of [x, y] or [x, y, w, h] in whole pixels of the image). `isOn` says
 * whether a place is asked for. at(clientX, clientY), hover(clientX, clientY),
 * move(dx, dy, isLong), set() and takeAway() do what hands and keys do; draw() follows the
 * viewer.
 */
export function createMarks(frame, viewer) {
  const layer = document.createElement("canvas");
  layer.className = "marks";
  layer.setAttribute("aria-hidden", "true");
  let items = [];
  let active = null;
  let onChange = () => {};
  let cross = null; // where the arrows are, or null before they were used
  let corner = null; // of a box, the first
  let pointer = null; // the pixel under the mouse, while a box has one corner

  const isOn = () => active !== null && viewer.state !== null;

  function add(pixel) {
    if (!pixel || !isOn()) return;
    const isBox = active.kind === "box";
    if (isBox && !corner) {
      corner = pixel;
      return draw();
    }
    const place = isBox ? boxBetween(corner, pixel) : [pixel.x, pixel.y];
    [corner, pointer] = [null, null];
    // Where there is one to give, another click moves it.
    if (active.most === 1) active.places = [place];
    else if (active.places.length < active.most) active.places = [...active.places, place];
    draw();
    onChange();
  }

  function drawItem(context, item, { image, panes }, ratio) {
    const colour = item === active ? ACTIVE : PASSIVE;
    for (const { pane, place } of panes) {
      context.save();
      context.beginPath();
      context.rect(pane.x, pane.y, pane.width, pane.height);
      context.clip();
      for (const one of item.places) drawPlace(context, one, image, place, ratio, colour, item);
      context.restore();
    }
  }

  function drawPlace(context, [x, y, w, h], image, place, ratio, colour, item) {
    if (w === undefined) {
      const at = canvasPlace(image, place, x + 0.5, y + 0.5);
      drawRing(context, at, ratio);
      stroke(context, 1.5 * ratio, colour);
      const beside = { x: at.x + 2 * RADIUS * ratio, y: at.y - RADIUS * ratio };
      return drawName(context, item.finding, beside, ratio, colour);
    }
    const from = canvasPlace(image, place, x, y);
    const to = canvasPlace(image, place, x + w, y + h);
    context.beginPath();
    context.rect(from.x, from.y, to.x - from.x, to.y - from.y);
    stroke(context, 1.5 * ratio, colour);
    const above = { x: from.x, y: from.y - 6 * ratio };
    return drawName(context, item.finding, above, ratio, colour);
  }

  function drawAim(context, { image, panes }, ratio) {
    const end = pointer ?? cross;
    for (const { pane, place } of panes) {
      context.save();
      context.beginPath();
      context.rect(pane.x, pane.y, pane.width, pane.height);
      context.clip();
      if (corner) {
        const [x, y, w, h] = boxBetween(corner, end ?? corner);
        const from = canvasPlace(image, place, x, y);
        const to = canvasPlace(image, place, x + w, y + h);
        context.beginPath();
        context.rect(from.x, from.y, to.x - from.x, to.y - from.y);
        context.setLineDash([5 * ratio, 4 * ratio]);
        stroke(context, 1.5 * ratio, ACTIVE);
        context.setLineDash([]);
      }
      if (cross && !pointer) {
        drawCross(context, canvasPlace(image, place, cross.x + 0.5, cross.y + 0.5), pane, ratio);
        stroke(context, ratio, ACTIVE);
      }
      context.restore();
    }
  }

  function draw() {
    if (items.length === 0 || !viewer.state) return layer.remove();
    if (!layer.isConnected) frame.append(layer);
    [layer.width, layer.height] = viewer.size;
    const context = layer.getContext("2d");
    const ratio = window.devicePixelRatio;
    const { places } = viewer;
    for (const item of items) if (item !== active) drawItem(context, item, places, ratio);
    if (!active) return undefined;
    drawItem(context, active, places, ratio);
    return drawAim(context, places, ratio);
  }

  return {
    get isOn() {
      return isOn();
    },
    draw,
    show(next, nextActive, changed) {
      if (nextActive !== active) [corner, pointer, cross] = [null, null, null];
      [items, active, onChange] = [next, nextActive, changed];
      frame.toggleAttribute("data-marking", active !== null);
      draw();
    },
    at(clientX, clientY) {
      cross = null;
      add(viewer.pixelAt(clientX, clientY));
    },
    hover(clientX, clientY) {
      if (!corner || !isOn()) return;
      pointer = viewer.pixelAt(clientX, clientY) ?? pointer;
      draw();
    },
    move(dx, dy, isLong) {
      if (!isOn()) return false;
      const { width, height } = viewer.places.image;
      const from = cross ?? pointer ?? { x: Math.floor(width / 2), y: Math.floor(height / 2) };
      const step = isLong ? LONG_STEP : STEP;
      cross = {
        x: clamp(from.x + dx * step, 0, width - 1),
        y: clamp(from.y + dy * step, 0, height - 1),
      };
      pointer = null;
      draw();
      return true;
    },
    set() {
      if (!isOn()) return;
      if (cross) add({ ...cross });
      else this.move(0, 0, false); // shows where it would be
    },
    takeAway() {
      if (!isOn()) return false;
      if (corner) corner = null;
      else if (active.places.length) active.places = active.places.slice(0, -1);
      else return true;
      draw();
      onChange();
      return true;
    },
  };
}
