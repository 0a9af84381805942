// The questions of the panel: which one is active, what its keys do, and what is missing.

import { withDigit } from "./digits.js";
import { blocksOf, isAsked } from "./items.js";

const HIGHEST = 100;
const MIDDLE = 50;
const BIG_STEP = 10;
// A choice by hand is made; one with the arrows of a group of buttons is on its way.
const MADE_BY_CHOICE = ["scale", "choice", "yes_no"];
const PLACES = ["points", "box"];

/**
 * Leads through the questions of one form after another.
 *
 * begin(form) takes the form of a new panel. `marks` is of marks.js, `record` of record.js,
 * submit() sends the form. A form's data-layout is
 *   "plain": one scale that is always open, as are the few things below it
 *   "single": one question of another kind, always open
 *   "folded": several, of which only the active one is open; the others are a row each
 * In all but the first the button says what is missing, and leads there.
 *
 * isComplete says whether the form can be sent, settle() is called before it is, and
 * toMissing() leads to what is missing.
 * The others do what keys do: digit, arrow, jump, tab, enter, arm (cannot judge), disarm,
 * mark, takeAway, leave. Those that answer whether the key was theirs return a boolean.
 */
export function createQuestions(panel, { marks, record, submit }) {
  let form = null;
  let blocks = [];
  let active = null; // an item
  let typed = ""; // digits of the active slider that may go on
  let isArmed = false; // the next digit is a reason
  let isByHand = false;
  let aside = new Map(); // answers that a reason took the place of, by item

  const counts = () => form.dataset.layout !== "plain";
  const asked = () =>
    blocks.filter((block) => isAsked(block, blocks)).flatMap((block) => block.items);
  const reasons = () => [...form.querySelectorAll("[name=cannot_judge]")];
  const reason = () => reasons().find((input) => input.checked);
  const missing = () =>
    reason() ? [] : asked().filter((item) => item.required && !item.isAnswered);
  const itemAt = (element) =>
    blocks.flatMap((block) => block.items).find((item) => item.element.contains(element));

  // --- What is seen ---

  function sync() {
    const items = asked();
    if (!items.includes(active)) active = items[0] ?? null;
    for (const block of blocks) showBlock(block, items);
    const places = items.filter((item) => PLACES.includes(item.kind));
    marks.show(places, places.includes(active) ? active : null, () => answered(active));
    if (!counts()) return;
    const button = form.querySelector("[type=submit] [data-label]");
    const { length } = missing();
    const more = `${length} more answer${length === 1 ? "" : "s"}`;
    button.textContent = length && items.length > 1 ? more : button.dataset.label;
  }

  function showBlock({ element, items }, shown) {
    element.hidden = !shown.includes(items[0]);
    const isActive = items.includes(active);
    if (isActive) element.setAttribute("aria-current", "true");
    else element.removeAttribute("aria-current");
    for (const item of items) {
      item.element.toggleAttribute("data-active", item === active);
      item.show();
      const own = item.element.querySelector("[data-given]");
      if (own) own.textContent = item.given || "–";
    }
    const given = element.querySelector(":scope > .folded [data-given]");
    if (given) given.textContent = items.map((item) => item.given || "–").join(", ");
  }

  function activate(item, { focus = true } = {}) {
    if (item !== active) take();
    active = item;
    sync();
    if (!focus) return;
    item.block.element.focus({ preventScroll: true });
    item.element.scrollIntoView({ block: "nearest" });
  }

  // Those after the active one come first, then those before it.
  const inTurn = (items) => {
    const all = asked();
    const at = all.indexOf(active);
    const turned = [...all.slice(at + 1), ...all.slice(0, at + 1)];
    return turned.filter((item) => items.includes(item));
  };

  function advance() {
    const [next] = inTurn(asked().filter((item) => !item.isAnswered));
    if (next) activate(next);
    else sync();
    return next;
  }

  // --- Answers ---

  // After the answer of an item has changed, by whatever means.
  function answered(item) {
    if (item.required && item.isAnswered) judge();
    if (item.isAnswered && item.value !== item.recorded) {
      record.answered(item.block.key, item.recorded !== "");
      item.recorded = item.value;
    }
    sync();
  }

  function requireRadios(isRequired) {
    if (counts()) return;
    // As the browser itself asks for what is missing.
    for (const { items } of blocks.filter(({ element }) => "native" in element.dataset)) {
      for (const input of items[0].inputs) input.required = isRequired;
    }
  }

  /** There is an answer, and so no reason why there is none. */
  function judge() {
    for (const input of reasons()) input.checked = false;
    for (const [item, value] of aside) if (!item.isAnswered) item.value = value;
    aside = new Map();
    requireRadios(true);
  }

  /** There is a reason: what it takes the place of comes back with another answer. */
  function cannotJudge() {
    for (const item of asked()) {
      if (!item.required || item.value === "") continue;
      aside.set(item, item.value);
      item.value = "";
    }
    requireRadios(false);
    sync();
  }

  function choose(item, input) {
    input.checked = true;
    // By hand a change is told, and by key as well.
    input.dispatchEvent(new Event("change", { bubbles: true }));
    const next = counts() || asked().length > 1 ? advance() : null;
    if (!next) input.focus({ preventScroll: true });
  }

  function toggle(item, input) {
    input.checked = !input.checked;
    input.dispatchEvent(new Event("change", { bubbles: true }));
    input.focus({ preventScroll: true });
  }

  function setSlider(item, number) {
    item.value = String(Math.min(HIGHEST, Math.max(0, number)));
    sync();
  }

  function take() {
    if (typed === "") return false;
    typed = "";
    answered(active);
    return true;
  }

  function typeDigit(digit) {
    const { typed: longer, fits, isTaken } = withDigit(typed, digit);
    if (!fits) {
      const before = active;
      take();
      if (advance() && active !== before) api.digit(digit);
      return;
    }
    typed = longer;
    setSlider(active, Number(longer));
    if (isTaken) {
      take();
      advance();
    }
  }

  function chooseReason(digit) {
    const input = reasons().find((one) => one.dataset.digit === digit);
    if (!input) return;
    api.disarm();
    input.checked = !input.checked;
    input.dispatchEvent(new Event("change", { bubbles: true }));
    input.focus({ preventScroll: true });
  }

  // --- Hands ---

  for (const sign of ["pointerdown", "keydown"]) {
    document.addEventListener(sign, () => (isByHand = sign === "pointerdown"), true);
  }

  panel.addEventListener("focusin", ({ target }) => {
    const item = form?.contains(target) && itemAt(target);
    if (item && item !== active) activate(item, { focus: false });
  });

  panel.addEventListener("click", (event) => {
    if (!form?.contains(event.target)) return;
    const { target } = event;
    const row = target.closest(".folded, .finding");
    const item = row && (itemAt(row) ?? firstOf(row));
    if (item) activate(item);
    const act = target.closest("[data-place]")?.dataset.place;
    if (act === "set") marks.set();
    if (act === "away") marks.takeAway();
    // One that is touched where it stands has an answer, though nothing has moved.
    if (target.matches("[data-untouched]")) slide(target);
  });

  function firstOf(row) {
    const { items } = blocks.find(({ element }) => element.contains(row));
    return items.find((item) => !item.isAnswered) ?? items[0];
  }

  function slide(track) {
    const item = itemAt(track);
    item.value = track.value;
    answered(item);
  }

  panel.addEventListener("input", ({ target }) => {
    if (!form?.contains(target)) return;
    const item = itemAt(target);
    if (!item) return;
    if (target.type === "range") setSlider(item, target.valueAsNumber);
    else if (item.kind === "text") sync();
  });

  panel.addEventListener("change", ({ target }) => {
    if (!form?.contains(target)) return;
    if (target.name === "cannot_judge") return target.checked ? cannotJudge() : judged();
    const item = itemAt(target);
    if (!item) return;
    if (target.type === "range") return slide(target);
    item.tidy?.(target);
    answered(item);
    const isMade = MADE_BY_CHOICE.includes(item.kind) && isByHand;
    if (isMade && counts()) advance();
  });

  function judged() {
    judge();
    sync();
  }

  // --- Keys ---

  const api = {
    begin(next) {
      form = next;
      blocks = blocksOf(form);
      [active, typed, aside] = [null, "", new Map()];
      api.disarm();
      const items = asked();
      const named = items.find((item) => item.block.key === form.dataset.at);
      active = named ?? items.find((item) => !item.isAnswered) ?? items[0] ?? null;
      requireRadios(!reason());
      sync();
    },
    /** After the form was filled in by something else than hands. */
    refresh() {
      if (counts()) active = missing()[0] ?? active;
      sync();
    },
    get isComplete() {
      return !counts() || missing().length === 0;
    },
    /** What was typed is what it is: the form is sent. */
    settle: () => take(),
    toMissing() {
      const [next] = inTurn(missing());
      if (next) activate(next);
    },
    digit(digit) {
      if (isArmed) return chooseReason(digit);
      if (!active) return;
      if (active.kind === "slider") return typeDigit(digit);
      const input = active.inputOf(digit);
      if (!input) return;
      if (active.kind === "several") toggle(active, input);
      else choose(active, input);
    },
    arrow(dx, dy, isLong) {
      if (marks.isOn) return marks.move(dx, dy, isLong);
      if (!active || isLong) return false;
      if (dx && active.kind === "slider") return step(dx);
      const items = asked();
      // Of a single one the arrows are the browser's: they go through its buttons.
      if (!dy || items.length < 2) return false;
      take();
      const to = items[items.indexOf(active) + dy];
      if (to) activate(to);
      return true;
    },
    jump(where) {
      if (active?.kind !== "slider") return false;
      if (where === "up" || where === "down") return step(where === "up" ? BIG_STEP : -BIG_STEP);
      typed = "";
      setSlider(active, where === "home" ? 0 : HIGHEST);
      answered(active);
      return true;
    },
    tab() {
      return take() && Boolean(advance());
    },
    enter() {
      take();
      api.disarm();
      if (api.isComplete) submit();
      else api.toMissing();
    },
    arm() {
      const [first] = reasons();
      if (!first) return;
      isArmed = true;
      const details = first.closest("details");
      details.open = true;
      details.setAttribute("data-armed", "");
      details.scrollIntoView({ block: "nearest" });
    },
    disarm() {
      isArmed = false;
      form?.querySelector("[data-armed]")?.removeAttribute("data-armed");
    },
    mark() {
      marks.set();
    },
    takeAway: () => marks.takeAway(),
    leave(target) {
      api.disarm();
      if (!form?.contains(target) || !target.matches("textarea")) return;
      target.blur();
      itemAt(target)?.block.element.focus({ preventScroll: true });
    },
  };

  function step(by) {
    typed = "";
    setSlider(active, active.value === "" ? MIDDLE : Number(active.value) + by);
    answered(active);
    return true;
  }

  return api;
}
