// What a panel asks, item by item: one question, or one of its findings.
//
// An item hides what kind of field holds its answer. `value` is the answer as the field has
// it, "" where there is none; setting it, even to "", tells nobody.

const CHOSEN_BY_RADIO = ["scale", "choice", "yes_no"];
const MIDDLE = 50;
const LONGEST_GIVEN = 60;

const textOf = (input) => input.closest("label").querySelector("[data-text]")?.textContent;

class Item {
  constructor(element, block) {
    this.element = element;
    this.block = block;
    this.kind = block.kind;
    this.required = block.required;
    this.name = element.dataset.name;
    this.finding = element.dataset.finding ?? "";
    this.recorded = "";
    this.inputs = [...element.querySelectorAll(`[name="${this.name}"]`)];
  }

  get isAnswered() {
    return this.value !== "";
  }

  inputOf(digit) {
    return this.inputs.find((input) => input.dataset.digit === digit);
  }

  show() {}
}

class RadioItem extends Item {
  get chosen() {
    return this.inputs.find((input) => input.checked);
  }

  get value() {
    return this.chosen?.value ?? "";
  }

  set value(value) {
    for (const input of this.inputs) input.checked = value !== "" && input.value === value;
  }

  /** As a condition on it names it. */
  get answer() {
    if (this.kind === "scale") return Number(this.value);
    return this.kind === "yes_no" ? this.value === "yes" : this.value;
  }

  get given() {
    if (!this.chosen) return "";
    return this.kind === "scale" ? this.value : textOf(this.chosen);
  }
}

class SeveralItem extends Item {
  get most() {
    return Number(this.element.dataset.most);
  }

  get checked() {
    return this.inputs.filter((input) => input.checked);
  }

  get isAnswered() {
    const { length } = this.checked;
    const isNone = length === 1 && this.checked[0].value === "";
    return length > 0 && (isNone || length >= Number(this.element.dataset.least));
  }

  get value() {
    return this.checked.map((input) => input.value || "-").join(" ");
  }

  set value(value) {
    const values = value.split(" ");
    for (const input of this.inputs) {
      input.checked = value !== "" && values.includes(input.value || "-");
    }
  }

  get given() {
    return this.checked.map(textOf).join(", ");
  }

  /** After `input` was turned: "none" is none of the others, and no more than may be. */
  tidy(input) {
    if (!input.checked) return;
    if (this.checked.length > this.most && input.value !== "") input.checked = false;
    for (const other of this.inputs) {
      if (other !== input && (other.value === "" || input.value === "")) {
        other.checked = false;
      }
    }
  }
}

class SliderItem extends Item {
  constructor(element, block) {
    super(element, block);
    this.track = element.querySelector("[type=range]");
  }

  get value() {
    return this.inputs[0].value;
  }

  set value(value) {
    this.inputs[0].value = value;
  }

  get given() {
    return this.value;
  }

  // Until it is touched there is no handle: an answer would lean on where that stands.
  show() {
    const isUntouched = this.value === "";
    this.track.toggleAttribute("data-untouched", isUntouched);
    this.track.value = isUntouched ? MIDDLE : this.value;
    this.track.setAttribute("aria-valuetext", this.value || "no answer");
  }
}

class PlaceItem extends Item {
  get most() {
    return Number(this.element.dataset.most);
  }

  get places() {
    return this.value === "" ? [] : JSON.parse(this.value);
  }

  set places(places) {
    this.value = places.length ? JSON.stringify(places) : "";
  }

  get isAnswered() {
    return this.places.length >= Number(this.element.dataset.least);
  }

  get value() {
    return this.inputs[0].value;
  }

  set value(value) {
    this.inputs[0].value = value;
  }

  get given() {
    const { length } = this.places;
    const [one, more] = this.kind === "box" ? ["box", "boxes"] : ["point", "points"];
    return length ? `${length} ${length === 1 ? one : more}` : "";
  }

  show() {
    const { length } = this.places;
    this.element.querySelector("[data-count]").textContent = `${length} of ${this.most}`;
    this.element.querySelector("[data-place=away]").disabled = length === 0;
  }
}

class TextItem extends Item {
  get value() {
    return this.inputs[0].value.trim();
  }

  set value(value) {
    this.inputs[0].value = value;
  }

  get given() {
    const text = this.value.replace(/\s+/g, " ");
    return text.length > LONGEST_GIVEN ? `${text.slice(0, LONGEST_GIVEN)}…` : text;
  }
}

function itemOf(element, block) {
  const { kind } = block;
  if (CHOSEN_BY_RADIO.includes(kind)) return new RadioItem(element, block);
  if (kind === "several") return new SeveralItem(element, block);
  if (kind === "slider") return new SliderItem(element, block);
  return kind === "text" ? new TextItem(element, block) : new PlaceItem(element, block);
}

/**
 * The questions of `form` in their order: {element, key, kind, required, condition, items}.
 *
 * In the page each is a [data-key] with data-kind, data-required and perhaps data-show-if,
 * {question, values, negated}; each of its items a [data-name], perhaps the element itself.
 */
export function blocksOf(form) {
  return [...form.querySelectorAll("[data-key]")].map((element) => {
    const { key, kind, required, showIf } = element.dataset;
    const block = { element, key, kind, required: required === "true" };
    block.condition = showIf ? JSON.parse(showIf) : null;
    const parts = element.matches("[data-name]")
      ? [element]
      : [...element.querySelectorAll("[data-name]")];
    block.items = parts.map((part) => itemOf(part, block));
    return block;
  });
}

/** Whether a block is asked, as the answers to those before it stand. */
export function isAsked(block, blocks) {
  if (!block.condition) return true;
  const { question, values, negated } = block.condition;
  const asked = blocks.find(({ key }) => key === question);
  if (!asked || !isAsked(asked, blocks)) return false;
  const [item] = asked.items;
  return item.isAnswered && values.includes(item.answer) !== negated;
}
