// Builds elements from data. Text goes in as text nodes, never as markup: what a document, a model or a peer says can
// draw nothing here. There is no other way of making elements on this page.

/** Return an element; `props` are attributes ("class", "aria-…") or, for functions, event listeners ("click"). */
export function el(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (typeof value === "function") node.addEventListener(name, value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== ""));
  return node;
}

/** Return a line drawing of 24 by 24. */
export function icon(path) {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  const line = document.createElementNS(space, "path");
  line.setAttribute("d", path);
  svg.append(line);
  return svg;
}

export const byId = (id) => document.getElementById(id);

/** Say something to people who listen instead of looking. */
export function announce(text) {
  byId("announcer").textContent = text;
}
