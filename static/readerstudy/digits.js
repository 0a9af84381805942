// A number from 0 to 100 typed digit by digit.

const LARGEST = 100;

const isNumber = (text) => /^\d{1,2}$/.test(text) || Number(text) === LARGEST;

// 10 may become 100, and one digit two; nothing else that is a number can grow.
const canGrow = (text) => text.length === 1 || text === "10";

/**
 * What another digit makes of those that were typed before: {typed, fits, isTaken}.
 *
 * `fits` says whether it belongs to them; if it does not, they are taken as they stand and
 * the digit begins the next number. `isTaken` says that no digit could follow. The first
 * digit is not the tens: 5 and Enter is 5, 05 is 5, 100 is 100.
 */
export function withDigit(typed, digit) {
  const longer = typed + digit;
  const fits = isNumber(longer) && longer.length <= 3 && !/^0\d\d/.test(longer);
  return { typed: longer, fits, isTaken: fits && !canGrow(longer) };
}
