// An answer that was sent and is not saved yet, kept over a reload or a new login.
//
// It lies in the tab's own storage under its presentation's address, whose token tells
// nothing, and is gone when the answer is saved, another presentation comes, or the tab
// is closed.

const PREFIX = "unsaved:";
const keyOf = (form) => PREFIX + new URL(form.action).pathname;

// Hidden fields are the page's, not the reader's.
function isReaders(form, name) {
  return [...form.elements].some((field) => field.name === name && field.type !== "hidden");
}

export function keep(form) {
  const fields = [...new FormData(form)].filter(([name]) => isReaders(form, name));
  try {
    sessionStorage.setItem(keyOf(form), JSON.stringify(fields));
  } catch {
    // Storage is switched off. The answer is still in the form.
  }
}

/** Forgets every answer, or every one but that to `form`. */
export function forget(form = null) {
  const kept = form && keyOf(form);
  for (const key of Object.keys(sessionStorage)) {
    if (key.startsWith(PREFIX) && key !== kept) sessionStorage.removeItem(key);
  }
}

function put(form, name, value) {
  for (const field of form.elements) {
    if (field.name !== name) continue;
    if (field.type === "radio" || field.type === "checkbox") {
      if (field.value === value) field.checked = true;
    } else {
      field.value = value;
    }
    if (value !== "") field.closest("details")?.setAttribute("open", "");
    field.dispatchEvent(new Event("change", { bubbles: true }));
  }
}

/** Puts a kept answer back into its form; whether there was one. */
export function restore(form) {
  const kept = sessionStorage.getItem(keyOf(form));
  if (kept === null) return false;
  const fields = JSON.parse(kept);
  // A reason goes last: an answer would put it out.
  fields.sort(([one], [other]) => (one === "cannot_judge") - (other === "cannot_judge"));
  for (const [name, value] of fields) put(form, name, value);
  return true;
}
