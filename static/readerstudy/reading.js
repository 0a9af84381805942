// The rating page: fetch, draw, let rate, and never lose an answer.
//
// The server sends one panel per presentation and stage, as a whole page or swapped in by
// htmx. Its questions are hidden, its button disabled and its `_drawn` field empty until the
// image and the map are on the screen, and the server takes no answer without that field.
//
// The panel's section #reading says what to show:
//   data-image, data-image-width, -height, -dtype    address of the pixels, and what
//                                                    they are (uint8 or uint16)
//   data-overlay, data-overlay-width, -height        the same of the map (int8); none of
//                                                    them where there is no map, or not yet
//   data-rescale-slope, data-rescale-intercept       from stored to rescaled values
//   data-windows        JSON: presets {label, center, width} in rescaled values
//   data-inverted       "true" if low values are bright
//   data-padding        a stored value that is no part of the image, or empty
//   data-pixel-spacing  "row,column" in mm as in DICOM, or empty
//   data-opacity        of the map at first, in percent
//   data-display        "overlay" or "side_by_side"
// and may say what comes next, so that it is here before it is asked for:
//   data-next-image, data-next-image-width, -height, -dtype
//   data-next-overlay, data-next-overlay-width, -height
// [data-say] is what is read out, [data-back] leads to the answer before. Of the body,
// data-shortcuts="off" turns single keys off. The form's hidden field `_viewer` is given
// the summary of record.js when it is sent. What the form asks: questions.js and items.js.

import { listenToPointers } from "./gestures.js";
import { listenToKeys } from "./keys.js";
import { forget, keep, restore } from "./kept.js";
import { createMarks } from "./marks.js";
import { createQuestions } from "./questions.js";
import { createRecord } from "./record.js";
import { SessionEnded, createStimuli } from "./stimuli.js";
import { actionsOf, listenToControls, showState } from "./toolbar.js";
import { createViewer } from "./viewer.js";

// A key that was meant for the last image must not rate the next one.
const GUARD_MS = 250;
// Between a failure and the next try by itself: twice as long each time.
const FIRST_RETRY_S = 1;
const LAST_RETRY_S = 30;

const panel = document.getElementById("panel");
const live = document.getElementById("live");
const frame = document.getElementById("viewer");
const stimuli = createStimuli();
const record = createRecord();

let presented = null; // the section that was last begun with
let drawn = null; // the addresses of what is on the screen
let drawnAt = 0;
let loading = new AbortController();

const reading = () => document.getElementById("reading");
const form = () => reading().querySelector("form");
const windows = () => JSON.parse(reading().dataset.windows);
const addresses = ({ image, overlay = "" }) => `${image} ${overlay}`;
const isDrawn = () => drawn !== null && addresses(reading()?.dataset ?? {}) === drawn;
const isReady = () => isDrawn() && performance.now() - drawnAt >= GUARD_MS;

const viewer = createViewer(frame, (state) => {
  showState(state, windows());
  record.changed(state);
  marks.draw();
});
const marks = createMarks(frame, viewer);
const questions = createQuestions(panel, { marks, record, submit: () => submit() });

// --- Image and map --------------------------------------------------------------

function stimulusOf({ image, overlay }, data) {
  const [rowMm, columnMm] = data.pixelSpacing.split(",").map(Number);
  const isSpaced = data.pixelSpacing !== "";
  return {
    image: {
      ...image,
      rowsPerColumn: isSpaced ? rowMm / columnMm : 1,
      columnMm: isSpaced ? columnMm : null,
      slope: Number(data.rescaleSlope),
      intercept: Number(data.rescaleIntercept),
      inverted: data.inverted === "true",
      padding: data.padding === "" ? null : Number(data.padding),
    },
    windows: JSON.parse(data.windows),
    overlay,
    opacity: Number(data.opacity) / 100,
    display: data.display,
  };
}

function settings() {
  const { window, preset, inverted, view } = viewer.state;
  return { window, preset, inverted, view };
}

const nextFrame = () => new Promise((resolve) => requestAnimationFrame(resolve));

async function present() {
  const section = reading();
  if (!section) return;
  presented = section;
  retry.stop();
  if (isDrawn()) {
    questions.begin(form());
    return reveal(section);
  }
  loading.abort();
  loading = new AbortController();
  const { signal } = loading;
  // A map that comes to an image leaves it as the reader has set it.
  const kept = drawn?.startsWith(`${section.dataset.image} `) ? settings() : {};
  drawn = null;
  record.arrived();
  form().reset(); // browsers refill forms on reload
  questions.begin(form());
  document.body.toggleAttribute("data-no-map", !section.dataset.overlay);
  if (!("view" in kept)) viewer.clear();
  marks.draw();
  try {
    const pixels = await stimuli.take(section.dataset, signal);
    viewer.show(stimulusOf(pixels, section.dataset), kept);
    await nextFrame();
  } catch (error) {
    if (signal.aborted) return;
    // To the login page, which the whole window has to see.
    if (error instanceof SessionEnded) window.location.reload();
    else retry.later(present, `The image could not be shown: ${error.message}.`);
    return;
  }
  if (signal.aborted) return;
  drawn = addresses(section.dataset);
  drawnAt = performance.now();
  record.drawn();
  retry.succeeded();
  reveal(section);
  // Of the next case no more is told than its size. Most likely it is like this one.
  stimuli.prefetch(section.dataset, (pixels) => {
    viewer.prepare(stimulusOf(pixels, section.dataset));
  });
}

function reveal(section) {
  section.querySelector("fieldset").hidden = false;
  section.querySelector("[name=_drawn]").value = "1";
  section.querySelector("[type=submit]").disabled = false;
  forget(form());
  const isRestored = restore(form());
  if (isRestored) questions.refresh();
  // Unless the server says why in a notice of its own.
  if (isRestored && document.getElementById("notice").hidden) {
    warn(`Not saved yet. ${whatIsKept()}`, "Save it", submit);
  }
  // What a reader sees at a glance, for one who listens.
  live.textContent = [...section.querySelectorAll("[data-say]")]
    .map((element) => element.textContent.trim())
    .filter(Boolean)
    .join(". ");
}

// --- Messages -------------------------------------------------------------------

let onNotice = null;

function warn(text, label, act) {
  const notice = document.getElementById("notice");
  const button = notice.querySelector("button");
  notice.querySelector("p").textContent = text;
  button.textContent = label;
  button.hidden = false;
  notice.hidden = false;
  onNotice = act;
}

function clearWarning() {
  const notice = document.getElementById("notice");
  if (notice) notice.hidden = true;
  onNotice = null;
}

panel.addEventListener("click", (event) => {
  if (!event.target.closest("#notice button") || !onNotice) return;
  const act = onNotice;
  clearWarning();
  act();
});

/** Tries again what failed: by itself, ever less often, and at once when asked. */
const retry = {
  wait: FIRST_RETRY_S,
  timer: null,
  act: null,
  later(act, text) {
    this.stop();
    this.act = act;
    this.timer = setTimeout(() => this.now(), 1000 * this.wait);
    const seconds = this.wait === 1 ? "second" : "seconds";
    warn(`${text} Next try in ${this.wait} ${seconds}.`, "Try again", () => this.now());
    this.wait = Math.min(LAST_RETRY_S, 2 * this.wait);
  },
  now() {
    const { act } = this;
    this.stop();
    act?.();
  },
  stop() {
    clearTimeout(this.timer);
    this.act = null;
  },
  succeeded() {
    this.wait = FIRST_RETRY_S;
    // What the server has to say in a new panel stays.
    if (onNotice) clearWarning();
  },
};

window.addEventListener("online", () => retry.now());

// --- Rating ---------------------------------------------------------------------

const submit = () => form().requestSubmit();

function whatIsKept() {
  // Where there is one scale, what was chosen on it; else it would be a list.
  const isPlain = form().dataset.layout === "plain";
  const choice = isPlain && form().querySelector(".answers input:checked")?.value;
  return choice ? `Your choice, ${choice}, is kept.` : "What you entered is kept.";
}

function addSummary() {
  form().elements._viewer.value = JSON.stringify(record.summary(viewer));
}

// Before htmx and before the browser's own post, whatever caused the submission.
document.addEventListener(
  "submit",
  (event) => {
    if (event.target !== reading()?.querySelector("form")) return;
    if (isDrawn() && questions.isComplete) {
      retry.stop();
      questions.settle();
      addSummary();
      keep(event.target);
    } else {
      event.preventDefault();
      event.stopImmediatePropagation();
      if (isDrawn()) questions.toMissing();
    }
  },
  true,
);

// A browser that wants a choice cannot point at one that is folded away.
document.addEventListener(
  "invalid",
  (event) => {
    if (event.target.closest("details:not([open])")) event.preventDefault();
  },
  true,
);

function notSaved(reason) {
  retry.later(submit, `Not saved: ${reason}. ${whatIsKept()}`);
}

// A redirect that leads back here is to the login: the answer has to wait for it.
function isLogin(response) {
  const redirect = response.headers.get("HX-Redirect");
  return redirect !== null && new URL(redirect, window.location).searchParams.has("next");
}

document.addEventListener("htmx:after:request", ({ detail }) => {
  const { response, sourceElement } = detail.ctx;
  if (sourceElement !== form()) return;
  if (response.status < 300 && !isLogin(response)) forget();
});
document.addEventListener("htmx:after:swap", () => {
  // Told even of an answer that is not swapped in.
  if (reading() === presented) return;
  onNotice = null;
  present();
});
document.addEventListener("htmx:error", () => notSaved("the server cannot be reached"));
document.addEventListener("htmx:response:error", (event) => {
  const { status } = event.detail.ctx.response;
  if (status >= 500) notSaved(`the server reported an error (${status})`);
  // The server's own page says what there is to say: the study was closed, perhaps.
  else if (status === 404) window.location.reload();
  // 409 and 422 bring a panel with a message of its own.
  else if (status !== 409 && status !== 422) {
    const text = `Not saved: this page is out of date. ${whatIsKept()}`;
    warn(text, "Reload", () => window.location.reload());
  }
});

// A page kept by the browser for the back button shows what is long past.
window.addEventListener("pageshow", (event) => {
  if (event.persisted) window.location.reload();
});

// --- Controls -------------------------------------------------------------------

const actions = actionsOf(viewer);
listenToControls(viewer, actions);
listenToPointers(frame, viewer, {
  // Not on what is still to come.
  get isOn() {
    return marks.isOn && isDrawn();
  },
  at: marks.at,
  hover: marks.hover,
});
listenToKeys({
  actions,
  isReady,
  questions,
  back: () => reading().querySelector("[data-back]")?.click(),
});

present();
