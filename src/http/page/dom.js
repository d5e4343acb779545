// Elements without markup: what stands in a record becomes text and never HTML.

const HANDLERS = ["onchange", "onsubmit"];

function build(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (HANDLERS.includes(name)) element[name] = value;
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children.flat(Infinity).filter((child) => child != null && child !== false && child !== ""));
  return element;
}

export const h = (tag, attributes, ...children) => build(document.createElement(tag), attributes, children);

export const svg = (tag, attributes, ...children) =>
  build(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);

/** Makes `from` look like `to` and keeps every node that stays: focus, selection and scrolling survive a refresh. */
export function morph(from, to) {
  if (from.nodeName !== to.nodeName) return from.replaceWith(to);
  if (from.nodeType === Node.TEXT_NODE) {
    if (from.data !== to.data) from.data = to.data;
    return;
  }
  // A field that another address fills in; else what the person enters stays.
  if (from.dataset.value !== to.dataset.value) from.value = to.value;
  for (const { name } of [...from.attributes]) {
    // The person opens and closes details.
    if (!to.hasAttribute(name) && name !== "open") from.removeAttribute(name);
  }
  for (const { name, value } of to.attributes) {
    if (from.getAttribute(name) !== value) from.setAttribute(name, value);
  }
  for (const handler of HANDLERS) from[handler] = to[handler];
  morphChildren(from, to);
}

/** As `morph`, of the children. Those with a `data-key` are found again wherever they stand. */
export function morphChildren(from, to) {
  const keyed = new Map();
  for (const child of from.children) if (child.dataset.key) keyed.set(child.dataset.key, child);
  let at = from.firstChild;
  for (const next of [...to.childNodes]) {
    const key = next.dataset?.key;
    const alike = at && !at.dataset?.key && at.nodeName === next.nodeName ? at : undefined;
    const match = key ? keyed.get(key) : alike;
    if (!match) {
      from.insertBefore(next, at);
      continue;
    }
    keyed.delete(key);
    if (match === at) at = at.nextSibling;
    else from.insertBefore(match, at);
    morph(match, next);
  }
  while (at) {
    const after = at.nextSibling;
    at.remove();
    at = after;
  }
}

export const section = (title, ...children) => h("section", { class: "block" }, h("h2", null, title), children);

/** A table in a box that scrolls sideways. A column is `[heading, class]`; a row is `{ key, cells }`. */
export function table(caption, columns, rows, empty) {
  if (rows.length === 0) return h("p", { class: "empty" }, empty);
  const head = columns.map(([name, kind]) => h("th", { scope: "col", class: kind }, name));
  const body = rows.map(({ key, cells }) =>
    h("tr", { "data-key": key }, cells.map((cell, at) => h("td", { class: columns[at][1] }, cell))));
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    h("table", null, h("caption", { class: "hidden" }, caption), h("thead", null, h("tr", null, head)), h("tbody", null, body)));
}

/** A list of names and values; those without a value are left out. */
export const facts = (pairs) =>
  h("dl", { class: "facts" }, pairs.filter(([, value]) => value != null).map(([name, value]) =>
    h("div", null, h("dt", null, name), h("dd", null, value))));

/** A form of one text field; `go` gets what was entered. */
export const search = (label, value, hint, button, go, ...more) => h("form", {
  class: "filters", role: "search",
  onsubmit(event) {
    event.preventDefault();
    go(event.target.elements.text.value.trim(), event.target.elements);
  },
}, more, h("label", null, label, h("input", { name: "text", value: value ?? "", "data-value": value ?? "", placeholder: hint, autocomplete: "off", spellcheck: "false" })),
h("button", null, button));

export const pager = (page, href, name = "Next page") =>
  page.next_cursor && h("p", { class: "pager" }, h("a", { href: href(page.next_cursor) }, name));

/** A text with commands between backticks. */
export const code = (text) => text.split("`").map((part, at) => (at % 2 ? h("code", null, part) : part));

export const chip = (word, kind) => h("span", { class: `chip ${kind ?? ""}` }, word);
