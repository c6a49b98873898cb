// The view of what is remembered: search, evidence, adding, editing, forgetting with a receipt. Projects and the diary
// are `memory_more.js`'s.

import { announce, byId, el, icon } from "./dom.js";
import { showDiary, showProjects } from "./memory_more.js";
import { day, memoryWords } from "./memory_words.js";
import { pathOf, request } from "./requests.js";
import { onLanguage, words } from "./words.js";

const CHEVRON = "M9 6l6 6-6 6";
const PAGE = 50;
const WAIT_MS = 250; // after the last key of a search

let tab = "memories";
let asked = 0; // only the newest answer is shown
let timer = 0;

/** Make the view ready; `projectsChanged` is called when there may be other projects. */
export function readyMemory(projectsChanged) {
  const dialog = byId("memory-dialog");
  byId("memory").addEventListener("click", () => {
    dialog.showModal();
    show();
    showSettings();
  });
  dialog.addEventListener("close", projectsChanged);
  for (const button of document.querySelectorAll("[data-tab]")) {
    button.addEventListener("click", () => {
      tab = button.dataset.tab;
      byId("memory-told").replaceChildren(); // it is of another tab
      show();
    });
  }
  byId("memory-search").addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(show, WAIT_MS);
  });
  byId("memory-add").addEventListener("submit", add);
  byId("memory-automatic").addEventListener("change", (event) => attempt(async () => {
    try {
      await request("PATCH", "/api/memory/settings", { automatic: event.target.checked });
    } finally {
      await showSettings();
    }
  }));
  byId("memory-import").addEventListener("click", () => byId("memory-file").click());
  byId("memory-file").addEventListener("change", importFile);
  onLanguage(() => dialog.open && show());
}

/** Do something; say why where it did not work. */
async function attempt(work) {
  byId("memory-wrong").textContent = "";
  try {
    return await work();
  } catch (error) {
    byId("memory-told").replaceChildren(); // it tells of what was done before
    byId("memory-wrong").textContent = error.message;
    return null;
  }
}

function say(...lines) {
  byId("memory-told").replaceChildren(...lines.filter(Boolean).map((line) => el("p", {}, line)));
  announce(lines.filter(Boolean).join(" "));
}

async function showSettings() {
  await attempt(async () => {
    const found = await request("GET", "/api/memory/settings");
    byId("memory-automatic").checked = found.automatic && found.allowed;
    byId("memory-automatic").disabled = !found.allowed;
  });
}

async function show() {
  for (const button of document.querySelectorAll("[data-tab]")) button.setAttribute("aria-pressed", String(button.dataset.tab === tab));
  const looks = tab === "memories";
  byId("memory-search").hidden = byId("memory-add").hidden = !looks;
  byId("memory-search").placeholder = words().memorySearch;
  byId("memory-text").placeholder = words().memoryAdd;
  for (const option of document.querySelectorAll("#memory-scope option")) option.textContent = memoryWords().scopes[option.value];
  for (const option of document.querySelectorAll("#memory-sort option")) option.textContent = memoryWords().sorts[option.value];
  const mine = (asked += 1);
  const rows = await attempt(() => (looks ? memories(0) : tab === "projects" ? showProjects(attempt, say, show) : showDiary(attempt, say, show)));
  if (rows && mine === asked) byId("memory-list").replaceChildren(...rows);
}

async function memories(offset) {
  const query = new URLSearchParams({ q: byId("memory-search").value.trim(), limit: PAGE, offset });
  const found = await request("GET", `/api/memories?${query}`);
  const rows = found.memories.map(row);
  if (!rows.length && !offset) return [el("li", { class: "empty" }, query.get("q") ? memoryWords().nothingFound : memoryWords().nothing)];
  const next = offset + rows.length;
  return next < found.total && rows.length ? [...rows, moreRow(next)] : rows;
}

function moreRow(offset) {
  const node = el("li", { class: "more" }, el("button", { type: "button", class: "small", click: () => attempt(async () => node.replaceWith(...(await memories(offset)))) }, memoryWords().more));
  return node;
}

function row(memory) {
  const told = memoryWords();
  const kind = memory.kind === "summary" ? told.summary : told.sorts[memory.sort];
  const whose = memory.scope === "project" ? memory.project : told.scopes[memory.scope];
  const facts = [kind, whose, day(memory.made_at), ...memory.tags, memory.is_current ? "" : told.replaced].filter(Boolean);
  const node = el("li", { class: "memory", "data-key": memory.key });
  const buttons = [
    memory.kind === "memory" ? button(told.edit, () => node.replaceChildren(editor(memory, node))) : null,
    button(told.evidence, () => attempt(() => evidence(memory, node))),
    button(told.forget, () => node.replaceChildren(asking(memory, node))),
  ];
  node.append(memory.title ? el("h3", {}, memory.title) : "", el("p", {}, memory.text), el("p", { class: "facts" }, facts.join(" · ")), el("div", { class: "acts" }, buttons));
  return node;
}

const button = (label, click) => el("button", { type: "button", class: "small", click }, label);

async function evidence(memory, node) {
  const found = await request("GET", pathOf(memory.key));
  const told = memoryWords();
  const lines = found.evidence.flatMap((one) => [
    one.conversation && `${told.conversation(one.conversation)} ${day(one.at)}`,
    one.document && told.document(one.file || one.document.slice(0, 12)),
    ...one.keys,
  ]);
  const shown = [told.made(found.made_by, day(found.made_at)), ...lines.filter(Boolean)];
  node.querySelector(".evidence")?.remove();
  node.append(el("ul", { class: "evidence" }, shown.map((line) => el("li", {}, line))));
}

function editor(memory, node) {
  const text = el("textarea", { rows: "3", maxlength: "8000", "aria-label": memoryWords().edit });
  text.value = memory.text;
  const save = async (event) => {
    event.preventDefault();
    await attempt(async () => {
      const saved = await request("PATCH", pathOf(memory.key), { text: text.value });
      say(memoryWords().copies(saved.copies.copies), saved.copies.degraded);
      node.replaceWith(row(saved.memory));
    });
  };
  const form = el("form", { class: "edit", submit: save }, text, el("div", { class: "acts" }, el("button", { class: "small" }, memoryWords().save), button(memoryWords().cancel, () => node.replaceWith(row(memory)))));
  requestAnimationFrame(() => text.focus());
  return form;
}

function asking(memory, node) {
  const yes = button(memoryWords().yes, () => attempt(async () => {
    tellReceipt(await request("DELETE", pathOf(memory.key)));
    node.remove();
  }));
  requestAnimationFrame(() => yes.focus());
  return el("div", { class: "sure" }, el("p", {}, memory.text), el("p", {}, memoryWords().forgetSure), el("div", { class: "acts" }, yes, button(memoryWords().cancel, () => node.replaceWith(row(memory)))));
}

function tellReceipt(receipt) {
  const told = memoryWords();
  const nodes = receipt.nodes.flatMap((one) => [told.removed(one.node, one.state, one.records), one.backups.length ? told.backups(one.backups.join(", ")) : ""]);
  say(told.receipt, ...receipt.keys, ...nodes, receipt.is_whole ? told.whole : told.notWhole);
}

async function add(event) {
  event.preventDefault();
  const text = byId("memory-text").value.trim();
  if (!text) return;
  await attempt(async () => {
    const body = { text, sort: byId("memory-sort").value, scope: byId("memory-scope").value };
    const saved = await request("POST", "/api/memories", body);
    byId("memory-text").value = "";
    say(memoryWords().copies(saved.copies.copies), saved.copies.degraded);
    await show();
  });
}

async function importFile(event) {
  const [file] = event.target.files;
  event.target.value = "";
  if (!file) return;
  await attempt(async () => {
    const found = await request("POST", "/api/memory/import", new Blob([file]));
    say(memoryWords().imported(found), found.is_whole ? "" : memoryWords().importCut, ...found.errors.slice(0, 5).map(memoryWords().line));
    await show();
  });
}

/** Return which memories an answer was given, folded as its sources are; null for none. */
export function memoryCards(memories) {
  if (!memories.length) return null;
  const cards = memories.map((one) =>
    el("details", { class: "source" }, el("summary", {}, el("span", { class: "file" }, one.title || one.text), el("span", { class: "page" }, day(one.when)), icon(CHEVRON)), el("blockquote", {}, one.text)),
  );
  return el("details", { class: "all" }, el("summary", {}, memoryWords().used(cards.length), icon(CHEVRON)), el("div", { class: "cards" }, cards));
}
