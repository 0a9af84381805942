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
// By position on the keyboard: digits need Shift on some layouts. Letters lie elsewhere on
// others, so none of them answers.
const DIGIT = /^(?:Digit|Numpad)([0-9])$/;
const ARROWS = {
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  ArrowUp: [0, -1],
  ArrowDown: [0, 1],
};
const JUMPS = { Home: "home", End: "end", PageUp: "up", PageDown: "down" };
const TYPED_IN = "textarea, select, [contenteditable], input";
const NOT_TYPED_IN = "[type=radio], [type=checkbox], [type=range], [readonly]";

function isTyping({ target }) {
  return target.closest(TYPED_IN) !== null && !target.matches(NOT_TYPED_IN);
}

const isOn = () => document.body.dataset.shortcuts !== "off";
const isEnter = ({ code }) => code === "Enter" || code === "NumpadEnter";

/**
 * Listens to keys for as long as the page is there.
 *
 * `actions` are those of toolbar.js. `isReady()` says whether a key can be meant for the
 * case on the screen; until then all rest. `questions` is of questions.js, and `back()`
 * what Backspace does.
 *
 * <body data-shortcuts="off"> leaves alone what is no single character: Enter, which is no
 * shortcut but what a form does anyway, arrows and the like (WCAG 2.2, 2.1.4).
 */
export function listenToKeys({ actions, isReady, questions, back }) {
  function enter(event) {
    // On a link or a button, Enter does what it does everywhere.
    if (event.target.closest("a, button, summary")) return;
    event.preventDefault();
    if (!event.repeat && isReady()) questions.enter();
  }

  // Whether it is a key that moves something, and did.
  function move(event) {
    // There they belong to the tools' own sliders.
    if (event.target.closest(".toolbar")) return false;
    const { code, shiftKey } = event;
    if (code in ARROWS) return questions.arrow(...ARROWS[code], shiftKey);
    if (shiftKey) return false;
    if (code in JUMPS) return questions.jump(JUMPS[code]);
    if (code === "Tab") return questions.tab();
    return code === "Delete" && questions.takeAway();
  }

  function shortcut(event) {
    const digit = DIGIT.exec(event.code)?.[1];
    if (digit !== undefined) return questions.digit(digit);
    questions.disarm();
    if (event.code === "KeyP") actions.peek(true);
    else if (event.code === "KeyC") questions.arm();
    else if (event.code === "KeyX") questions.mark();
    else if (event.code === "Backspace") back();
    else actions[ACTIONS[event.code]]?.();
    return undefined;
  }

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    if (document.querySelector("dialog[open]")) return;
    if (event.code === "Escape") questions.leave(event.target);
    if (isTyping(event)) return;
    if (isReady() && move(event)) return event.preventDefault();
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
