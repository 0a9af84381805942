// The rating page: fetch, draw, let rate, and never lose a choice.
//
// The server sends one panel per presentation, as a whole page or swapped in by htmx.
// Its scale is hidden, its button disabled and its `drawn` field empty until the image
// and the map are on the screen, and the server takes no rating without that field.

import { pixelsOf } from "./maths.js";
import { createViewer } from "./viewer.js";

// A key that was meant for the last image must not rate the next one.
const GUARD_MS = 250;
const OPACITY_STEP = 10;

const panel = document.getElementById("panel");
const live = document.getElementById("live");
const mapButton = document.getElementById("map-toggle");
const slider = document.getElementById("opacity");
const viewer = createViewer(document.getElementById("viewer"));

let drawn = null; // the image address of what is on the screen
let drawnAt = 0;
let loading = new AbortController();

const reading = () => document.getElementById("reading");
const isDrawn = () => drawn !== null && reading()?.dataset.image === drawn;
const isReady = () => isDrawn() && performance.now() - drawnAt >= GUARD_MS;

// --- Image and map --------------------------------------------------------------

async function fetchPixels(address, dtype, width, height, signal) {
  const response = await fetch(address, { signal, cache: "no-store" }).catch((error) => {
    throw signal.aborted ? error : new Error("the server cannot be reached");
  });
  if (response.redirected) {
    // To the login page, which the whole window has to see.
    window.location.reload();
    throw new Error("the session has ended");
  }
  if (!response.ok) throw new Error(`the server answered ${response.status}`);
  return pixelsOf(await response.arrayBuffer(), dtype, width, height);
}

async function fetchStimulus(data, signal) {
  const [width, height] = [Number(data.imageWidth), Number(data.imageHeight)];
  const [columns, rows] = [Number(data.overlayWidth), Number(data.overlayHeight)];
  const [pixels, values] = await Promise.all([
    fetchPixels(data.image, data.imageDtype, width, height, signal),
    fetchPixels(data.overlay, "int8", columns, rows, signal),
  ]);
  return {
    image: {
      pixels,
      width,
      height,
      window: { center: Number(data.windowCenter), width: Number(data.windowWidth) },
      inverted: data.inverted === "true",
      padding: data.padding === "" ? null : Number(data.padding),
    },
    overlay: { values, width: columns, height: rows },
  };
}

const nextFrame = () => new Promise((resolve) => requestAnimationFrame(resolve));

async function present() {
  const section = reading();
  if (!section) return;
  if (isDrawn()) return reveal(section);
  loading.abort();
  loading = new AbortController();
  const { signal } = loading;
  drawn = null;
  viewer.clear();
  section.querySelector("form").reset(); // browsers refill forms on reload
  showMap(true);
  showOpacity(Number(section.dataset.opacity));
  try {
    viewer.show(await fetchStimulus(section.dataset, signal));
    await nextFrame();
  } catch (error) {
    if (!signal.aborted) warn(`The image could not be shown: ${error.message}.`, "load");
    return;
  }
  if (signal.aborted) return;
  drawn = section.dataset.image;
  drawnAt = performance.now();
  reveal(section);
}

function reveal(section) {
  section.querySelector("fieldset").hidden = false;
  section.querySelector("[name=drawn]").value = "1";
  section.querySelector("[type=submit]").disabled = false;
  // What a reader sees at a glance, for one who listens.
  live.textContent = [...section.querySelectorAll("[data-say]")]
    .map((element) => element.textContent.trim())
    .filter(Boolean)
    .join(". ");
}

// --- Messages -------------------------------------------------------------------

const RETRIES = {
  load: present,
  submit: () => reading().querySelector("form").requestSubmit(),
  reload: () => window.location.reload(),
};
const LABELS = { load: "Try again", submit: "Try again", reload: "Reload" };

function warn(text, retry) {
  const notice = document.getElementById("notice");
  const button = notice.querySelector("button");
  notice.querySelector("p").textContent = text;
  button.textContent = LABELS[retry];
  button.dataset.retry = retry;
  button.hidden = false;
  notice.hidden = false;
}

function clearWarning() {
  const notice = document.getElementById("notice");
  if (notice) notice.hidden = true;
}

panel.addEventListener("click", (event) => {
  const retry = event.target.closest("[data-retry]")?.dataset.retry;
  if (!retry) return;
  clearWarning();
  RETRIES[retry]();
});

// --- Rating ---------------------------------------------------------------------

function chosen() {
  return reading()?.querySelector("[name=rating]:checked") ?? null;
}

function choose(rating) {
  const radio = reading().querySelector(`[name=rating][value="${rating}"]`);
  radio.checked = true;
  radio.focus({ preventScroll: true });
}

// Before htmx and before the browser's own post, whatever caused the submission.
document.addEventListener(
  "submit",
  (event) => {
    if (!panel.contains(event.target) || isDrawn()) return;
    event.preventDefault();
    event.stopImmediatePropagation();
  },
  true,
);

function notSaved(reason) {
  const kept = chosen() ? ` Your choice, ${chosen().value}, is kept.` : "";
  warn(`Not saved: ${reason}.${kept}`, "submit");
}

document.addEventListener("htmx:before:request", clearWarning);
document.addEventListener("htmx:after:swap", present);
document.addEventListener("htmx:error", () => notSaved("the server cannot be reached"));
document.addEventListener("htmx:response:error", (event) => {
  const { status } = event.detail.ctx.response;
  if (status >= 500) notSaved(`the server reported an error (${status})`);
  // The server's own page says what there is to say: the study was closed, perhaps.
  else if (status === 404) window.location.reload();
  // 409 and 422 bring a panel with a message of its own.
  else if (status !== 409 && status !== 422) {
    warn("Not saved: this page is out of date. Reload it and choose again.", "reload");
  }
});

// A page kept by the browser for the back button shows what is long past.
window.addEventListener("pageshow", (event) => {
  if (event.persisted) window.location.reload();
});

// --- Map controls ---------------------------------------------------------------

function showMap(visible) {
  mapButton.setAttribute("aria-pressed", String(visible));
  viewer.setOverlayVisible(visible);
}

function showOpacity(percent) {
  slider.value = percent;
  slider.nextElementSibling.textContent = `${slider.value} %`;
  viewer.setOpacity(slider.valueAsNumber / 100);
}

const toggleMap = () => showMap(mapButton.getAttribute("aria-pressed") !== "true");
const changeOpacity = (step) => showOpacity(slider.valueAsNumber + step);

mapButton.addEventListener("click", toggleMap);
slider.addEventListener("input", () => changeOpacity(0));

// --- Keys -----------------------------------------------------------------------

// By position on the keyboard: digits need Shift on some layouts.
const KEYS = {
  KeyO: toggleMap,
  Comma: () => changeOpacity(-OPACITY_STEP),
  Period: () => changeOpacity(OPACITY_STEP),
};
for (let rating = 0; rating <= 5; rating += 1) {
  KEYS[`Digit${rating}`] = KEYS[`Numpad${rating}`] = () => choose(rating);
}

function submitByKey(event) {
  // On a link or another button, Enter does what it does everywhere.
  if (event.target.closest("a, button")) return;
  event.preventDefault();
  if (isReady()) reading().querySelector("form").requestSubmit();
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || event.shiftKey) return;
  if (event.target.closest("textarea, select, [type=text], [contenteditable]")) return;
  if (event.code === "Enter" || event.code === "NumpadEnter") {
    if (event.repeat) event.preventDefault();
    else submitByKey(event);
  } else if (!event.repeat && isReady()) {
    KEYS[event.code]?.();
  }
});

present();
