// Sizes and times for people.

const UNITS = ["byte", "kilobyte", "megabyte", "gigabyte", "terabyte"];

export function sizeText(bytes) {
  const power = bytes < 1000 ? 0 : Math.min(Math.floor(Math.log10(bytes) / 3), UNITS.length - 1);
  return new Intl.NumberFormat("en", {
    style: "unit", unit: UNITS[power], unitDisplay: power ? "short" : "long", maximumFractionDigits: power ? 1 : 0,
  }).format(bytes / 1000 ** power);
}

const format = (date, options) => new Intl.DateTimeFormat("en", options).format(date);

export const wholeTime = (date) => format(date, { dateStyle: "full", timeStyle: "short", hourCycle: "h23" });

export const shortTime = (date) => date.toDateString() === new Date().toDateString()
  ? `Today ${format(date, { timeStyle: "short", hourCycle: "h23" })}`
  : format(date, { dateStyle: "medium" });

export const extension = (name) => (/\.([A-Za-z0-9]{1,5})$/.exec(name)?.[1] ?? "file").toLowerCase();
