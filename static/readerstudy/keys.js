// The keyboard of the rating page.

const ACTIONS = {
  KeyO: "map",
  KeyI: "invert",
  KeyW: "window",
  KeyF: "fit",
  KeyR: "reset",
  Comma: "fainter",
  Period: "stronger",
};
// By position on the keyboard: digits need Shift on some layouts.
const RATING = /^(?:Digit|Numpad)([0-5])$/;
const TYPED_IN = "textarea, select, [contenteditable], input";
const NOT_TYPED_IN = "[type=radio], [type=checkbox], [type=range]";

function isTyping({ target }) {
  return target.closest(TYPED_IN) !== null && !target.matches(NOT_TYPED_IN);
}

const isOn = () => document.body.dataset.shortcuts !== "off";
const isEnter = ({ code }) => code === "Enter" || code === "NumpadEnter";

/**
 * Listens to keys for as long as the page is there.
 *
 * `actions` are those of toolbar.js. `isReady()` says whether a key can be meant for
 * the case on the screen; until then all rest. `choose(rating)`, `submit()` and `back()`
 * are what the digits, Enter and Backspace do.
 *
 * <body data-shortcuts="off"> leaves Enter alone, which is no shortcut but what a form
 * does anyway (WCAG 2.2, 2.1.4).
 */
export function listenToKeys({ actions, isReady, choose, submit, back }) {
  function enter(event) {
    // On a link or a button, Enter does what it does everywhere.
    if (event.target.closest("a, button, summary")) return;
    event.preventDefault();
    if (!event.repeat && isReady()) submit();
  }

  function shortcut(event) {
    const rating = RATING.exec(event.code)?.[1];
    if (rating !== undefined) choose(rating);
    else if (event.code === "KeyP") actions.peek(true);
    else if (event.code === "Backspace") back();
    else actions[ACTIONS[event.code]]?.();
  }

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || isTyping(event)) return;
    if (document.querySelector("dialog[open]")) return;
    // Where the question mark lies, and whether it needs Shift, is the layout's affair.
    const isHelp = event.key === "?";
    if (event.shiftKey && !isHelp) return;
    if (isEnter(event)) enter(event);
    else if (isOn() && !event.repeat && isHelp) actions.help();
    else if (isOn() && !event.repeat && isReady()) shortcut(event);
  });
  // Whatever else is held by then, a peek ends with its key.
  document.addEventListener("keyup", (event) => {
    if (event.code === "KeyP") actions.peek(false);
  });
}
