// A model's Markdown as elements: paragraphs, headings, lists, code, bold, italic, and citations [1]. Built from text
// nodes only (dom.js). Links are shown as text on purpose: a model's or a document's link is nobody's to click.

import { el } from "./dom.js";

const FENCE = /^\s*```(\w*)\s*$/;
const HEADING = /^(#{1,4})\s+(.*)$/;
const BULLET = /^\s*[-*•]\s+(.*)$/;
const NUMBER = /^\s*(\d{1,3})[.)]\s+(.*)$/;
const INLINE = /(`[^`\n]+`)|(\*\*[^*\n]+\*\*)|(?<![\w*])(\*[^*\s][^*\n]*\*)(?![\w*])|(\[\d{1,2}\])/g;

/** Return the blocks of `text`; `cite(n)` returns the element for a citation, or null where n is no source. */
export function blocks(text, cite) {
  const found = [];
  const lines = text.split("\n");
  for (let at = 0; at < lines.length; ) {
    if (!lines[at].trim()) at += 1;
    else at = block(lines, at, found, cite);
  }
  return found;
}

function block(lines, at, found, cite) {
  if (FENCE.test(lines[at])) return fence(lines, at, found);
  const heading = HEADING.exec(lines[at]);
  if (heading) {
    found.push(el(`h${heading[1].length + 2}`, {}, inline(heading[2], cite)));
    return at + 1;
  }
  if (BULLET.test(lines[at])) return list(lines, at, found, cite, "ul", BULLET, 1);
  if (NUMBER.test(lines[at])) return list(lines, at, found, cite, "ol", NUMBER, 2);
  return paragraph(lines, at, found, cite);
}

function fence(lines, at, found) {
  let end = at + 1;
  while (end < lines.length && !FENCE.test(lines[end])) end += 1; // an open fence is still being written
  found.push(el("pre", { tabindex: "0" }, el("code", {}, lines.slice(at + 1, end).join("\n"))));
  return end + 1;
}

function list(lines, at, found, cite, tag, pattern, group) {
  const start = tag === "ol" ? Number(pattern.exec(lines[at])[1]) : 1;
  const items = [];
  while (at < lines.length && pattern.test(lines[at])) {
    items.push(el("li", {}, inline(pattern.exec(lines[at])[group], cite)));
    at += 1;
  }
  found.push(el(tag, start === 1 ? {} : { start }, items));
  return at;
}

function paragraph(lines, at, found, cite) {
  const parts = [];
  while (at < lines.length && lines[at].trim() && !startsBlock(lines[at])) {
    if (parts.length) parts.push(el("br"));
    parts.push(...inline(lines[at], cite));
    at += 1;
  }
  found.push(el("p", {}, parts));
  return at;
}

const startsBlock = (line) => [FENCE, HEADING, BULLET, NUMBER].some((pattern) => pattern.test(line));

function inline(text, cite) {
  const parts = [];
  let done = 0;
  for (const match of text.matchAll(INLINE)) {
    parts.push(text.slice(done, match.index), piece(match, cite));
    done = match.index + match[0].length;
  }
  parts.push(text.slice(done));
  return parts;
}

function piece([whole, code, bold, italic], cite) {
  if (code) return el("code", {}, code.slice(1, -1));
  if (bold) return el("strong", {}, bold.slice(2, -2));
  if (italic) return el("em", {}, italic.slice(1, -1));
  return cite(Number(whole.slice(1, -1))) ?? whole;
}
