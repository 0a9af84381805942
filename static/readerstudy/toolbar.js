// The controls below the image, and what they say about it.

import { scaleBar } from "./maths.js";

const OPACITY_STEP = 10;
// In widths of the page's letter, as reading.css leaves room for it.
const SCALE_BAR_REM = 6;

const element = (id) => document.getElementById(id);
const slider = () => element("opacity");

// With a minus sign, not a hyphen.
const short = (value) =>
  value.toFixed(Math.abs(value) < 20 ? 1 : 0).replace("-", "\u2212");

/** What each control and its key does. */
export function actionsOf(viewer) {
  const turn = (name) => viewer.state && viewer.set({ [name]: !viewer.state[name] });
  const setOpacity = (percent) =>
    viewer.set({ opacity: Math.min(100, Math.max(0, percent)) / 100 });
  return {
    map: () => turn("mapVisible"),
    invert: () => turn("inverted"),
    window: () => viewer.nextPreset(),
    fit: () => viewer.fit(),
    reset: () => viewer.reset(),
    peek: (peeking) => viewer.set({ peeking }),
    fainter: () => setOpacity(slider().valueAsNumber - OPACITY_STEP),
    stronger: () => setOpacity(slider().valueAsNumber + OPACITY_STEP),
    help: () => element("help").showModal(),
  };
}

function showSlider(id, share) {
  const input = element(id);
  const percent = Math.round(100 * share);
  if (input.valueAsNumber !== percent) input.value = percent;
  input.nextElementSibling.textContent = `${percent} %`;
}

function showScaleBar(pixelsPerMm) {
  const bar = element("scale-bar");
  bar.classList.toggle("absent", pixelsPerMm === null);
  if (pixelsPerMm === null) return;
  const rem = Number.parseFloat(getComputedStyle(document.documentElement).fontSize);
  const { mm, pixels } = scaleBar(pixelsPerMm, SCALE_BAR_REM * rem);
  bar.querySelector(".length").style.width = `${pixels}px`;
  bar.querySelector(".mm").textContent = mm >= 10 ? `${mm / 10} cm` : `${mm} mm`;
}

/** Brings the toolbar to a state of the viewer. `windows` are the image's presets. */
export function showState(state, windows) {
  const press = (action, isPressed) =>
    document
      .querySelector(`[data-action="${action}"]`)
      .setAttribute("aria-pressed", String(isPressed));
  press("map", state.mapVisible);
  press("invert", state.inverted);
  press("peek", state.peeking);
  showSlider("opacity", state.opacity);
  showSlider("threshold", state.threshold);
  const preset = state.preset === null ? "by hand" : windows[state.preset].label;
  element("preset").textContent = preset;
  element("preset").title = preset;
  const { center, width } = state.window;
  element("readout").textContent =
    `W ${short(width)} L ${short(center)} · ${Math.round(100 * state.scale)} %`;
  const { pixelsPerMm } = state;
  showScaleBar(pixelsPerMm === null ? null : pixelsPerMm / window.devicePixelRatio);
}

function listenToPeek(button, peek) {
  // Held, by whatever holds a button.
  const start = () => peek(true);
  const end = () => peek(false);
  button.addEventListener("pointerdown", (event) => {
    button.setPointerCapture(event.pointerId);
    start();
  });
  button.addEventListener("lostpointercapture", end);
  button.addEventListener("keydown", (event) => {
    if (["Space", "Enter", "NumpadEnter"].includes(event.code) && !event.repeat) start();
  });
  button.addEventListener("keyup", end);
  button.addEventListener("blur", end);
}

export function listenToControls(viewer, actions) {
  for (const button of document.querySelectorAll("[data-action]")) {
    const { action } = button.dataset;
    if (action === "peek") listenToPeek(button, actions.peek);
    else button.addEventListener("click", () => actions[action]());
  }
  for (const name of ["opacity", "threshold"]) {
    const input = element(name);
    input.addEventListener("input", () => viewer.set({ [name]: input.valueAsNumber / 100 }));
  }
  window.addEventListener("blur", () => actions.peek(false));
}
